use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;

fn access(allowed: &[&str]) -> Access {
    let mut access = Access::default();
    allowed.iter().for_each(|location| access.allow(location).unwrap());
    access
}

fn file(access: &Access, location: &str) -> Result<()> {
    access.check("LOCATION", Reach::File(location))
}

/// `allowed/{sub/,parts.csv,deep/er/}` beside `allowed-secret/` and `secret.csv`, with links of several kinds.
fn disk() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    for dir in ["allowed/sub", "allowed/deep/er", "allowed-secret", "linked", "inside"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    for file in ["allowed/parts.csv", "allowed-secret/x.csv", "secret.csv", "inside/x.csv"] {
        std::fs::write(root.join(file), "a\n1\n").unwrap();
    }
    symlink(root.join("secret.csv"), root.join("linked/leaving.csv")).unwrap();
    symlink(root.join("allowed/deep/er"), root.join("allowed/jump")).unwrap();
    symlink(root.join("inside/x.csv"), root.join("inside/y.csv")).unwrap();
    symlink(root.join("nowhere"), root.join("linked/dangling")).unwrap();
    (folder, root.to_str().unwrap().to_owned())
}

#[test]
fn a_folder_holds_what_is_in_it_and_nothing_else() {
    let (_folder, root) = disk();
    let access = access(&[&format!("{root}/allowed")]);
    for location in [
        "/allowed",
        "/allowed/",
        "/allowed/parts.csv",
        "/allowed/*.csv",
        "/allowed/not/yet/there",
        "/allowed/sub/../parts.csv",
        "/allowed-secret/../allowed/parts.csv",
    ] {
        file(&access, &format!("{root}{location}")).unwrap();
        file(&access, &format!("file://{root}{location}")).unwrap();
    }
    for location in [
        "/allowed-secret/x.csv",
        "/secret.csv",
        "/allow*/x.csv",
        "/*/x.csv",
        "/allowed/../secret.csv",
        "/allowed/sub/../../secret.csv",
        // By its text this is beside the folder, by what the link leads to it is within.
        "/allowed/jump/../../secret.csv",
        "",
    ] {
        let error = file(&access, &format!("{root}{location}")).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Usage);
        let error = error.to_string();
        assert!(error.contains("--allow") && error.contains("allow_location"), "{error}");
        assert!(file(&access, &format!("file://{root}{location}")).is_err(), "{location}");
    }
    for location in ["/allowed/%2e%2e/secret.csv", "/allowed/..%2fsecret.csv", "/allowed/%2E./secret.csv"] {
        assert!(file(&access, &format!("file://{root}{location}")).is_err(), "{location}");
    }
    assert!(file(&access, &format!("file://host{root}/allowed/parts.csv")).is_err());
}

#[test]
fn links_that_leave_the_folder_are_refused_and_others_are_followed() {
    let (_folder, root) = disk();
    let access = access(&[&format!("{root}/linked"), &format!("{root}/inside")]);
    file(&access, &format!("{root}/inside/")).unwrap();
    file(&access, &format!("{root}/inside/y.csv")).unwrap();
    for location in ["/linked/leaving.csv", "/linked/", "/linked/*.csv", "/linked/dangling"] {
        let error = file(&access, &format!("{root}{location}")).unwrap_err().to_string();
        assert!(error.contains(&root), "{error}");
    }
    let error = file(&access, &format!("{root}/linked/")).unwrap_err().to_string();
    assert!(error.contains("linked/") && error.contains("leads out"), "{error}");
}

#[test]
fn urls_are_compared_by_scheme_host_port_and_parts_of_the_path() {
    let access = access(&["s3://bucket/data/in", "https://minio.example:9000", "abfss://files@acc.net/a"]);
    for location in [
        "s3://bucket/data/in",
        "s3://bucket/data/in/",
        "S3://bucket/data/in/x",
        "HTTPS://Minio.Example:9000/x",
        "s3://bucket/data/other/../in/x",
        "https://minio.example:9000/x",
        "abfss://files@acc.net/a/b",
    ] {
        file(&access, location).unwrap();
    }
    for location in [
        "s3://bucket/data/input",
        "s3://bucket/data",
        "s3a://bucket/data/in",
        "s3://bucket2/data/in",
        "s3://Bucket/data/in",
        "s3://bucket.evil/data/in",
        "s3://bucket/data/in/../other",
        "s3://bucket/data/in/%2e%2e/other",
        "s3://bucket/data/in/..%2Fother",
        "http://minio.example:9000/x",
        "https://minio.example/x",
        "https://minio.example.evil:9000/x",
        "https://me:hunter2@minio.example:9000/x",
        "https://hunter2@minio.example:9000/x",
        "https://minio.example:9000/x?sig=hunter2",
        "abfss://other@acc.net/a/b",
        "memory://x",
    ] {
        let error = file(&access, location).expect_err(location).to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert!(access.check("x", Reach::Url("https://minio.example:9000/t")).is_ok());
    assert!(access.check("x", Reach::Url("/data")).is_err());
}

#[test]
fn what_two_readers_could_take_for_two_places_is_refused() {
    let access = access(&["/"]);
    for location in [" /etc/x", "/etc/x\n", "fi\tle:///etc/x", "a:b/c", "c:/x", "s3:/x", ""] {
        let error = file(&access, location).expect_err(location).to_string();
        assert!(error.contains("cannot be allowed"), "{error}");
    }
    file(&access, "/etc/s3:/x").unwrap();
    file(&access, "./a:b").unwrap();
}

#[test]
fn brokers_are_free_until_one_is_named() {
    let check = |access: &Access, brokers| access.check("LOCATION", Reach::Brokers(brokers));
    check(&access(&["/data"]), "a:1,b").unwrap();
    let named = access(&["kafka://a:1,b", "kafka://[::1]:5/topic"]);
    for brokers in ["a:1", "A:1, b:9092", "[::1]:5", "SASL_SSL://a:1"] {
        check(&named, brokers).unwrap();
    }
    for brokers in ["a:2", "a", "b:1", "a:1,c:1", "c.a:1"] {
        let error = check(&named, brokers).expect_err(brokers).to_string();
        assert!(error.contains("--allow kafka://"), "{error}");
    }
    let error = check(&access(&[]), "me:hunter2@a:1").unwrap_err().to_string();
    assert!(error.contains("sasl.password") && !error.contains("hunter2"), "{error}");
}

#[test]
fn nothing_allows_what_runs_code_but_lifting_the_limit() {
    let mut access = access(&["/"]);
    let never = Reach::Never("it runs a program");
    assert!(access.check("x", never).unwrap_err().to_string().contains("it runs a program"));
    access.lift();
    access.check("x", never).unwrap();
    file(&access, "/etc/passwd").unwrap();
}

proptest! {
    /// However a path is written, it is allowed exactly if what the system would open lies in the folder.
    #[test]
    fn a_path_is_allowed_if_and_only_if_it_leads_into_the_folder(
        parts in prop::collection::vec(
            prop::sample::select(vec!["..", ".", "allowed", "sub", "deep", "er", "allowed-secret", "x"]),
            0..7,
        )
    ) {
        let (_folder, root) = disk();
        let access = access(&[&format!("{root}/allowed")]);
        let location = format!("{root}/{}", parts.join("/"));
        // No link is on these ways, so that the text alone says where they lead.
        let mut leads_to = Vec::new();
        for part in Path::new(&location).components() {
            match part {
                std::path::Component::ParentDir => drop(leads_to.pop()),
                part => leads_to.push(part),
            }
        }
        let leads_to: std::path::PathBuf = leads_to.into_iter().collect();
        let expected = leads_to.starts_with(format!("{root}/allowed"));
        prop_assert_eq!(file(&access, &location).is_ok(), expected, "{} leads to {:?}", location, leads_to);
    }

    /// What is allowed stays allowed further down, and nothing else does by having the same letters.
    #[test]
    fn urls_lie_in_their_beginnings_by_whole_parts(
        path in "[a-c]{1,3}(/[a-c]{1,3}){0,3}",
        below in "[a-c]{1,3}",
        letter in "[a-c]",
    ) {
        let access = access(&[&format!("s3://bucket/{path}")]);
        let allowed = format!("s3://bucket/{path}/{below}");
        let longer = format!("s3://bucket/{path}{letter}");
        let escaped = format!("s3://bucket/{path}/../{below}{letter}x");
        prop_assert!(file(&access, &allowed).is_ok());
        prop_assert!(file(&access, &longer).is_err());
        prop_assert!(file(&access, &escaped).is_err());
    }

    /// No text makes it panic, and what is no path and has no scheme is never allowed by a URL.
    #[test]
    fn any_text_has_an_answer(location in "\\PC{0,40}") {
        let _ = file(&access(&["s3://bucket/a"]), &location);
        let _ = access(&[]).check("x", Reach::Brokers(&location));
    }
}
