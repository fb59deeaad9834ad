/* Shifts the wall clock of the process that it is preloaded into by as many seconds as stand, as 8 bytes, in the file that
 * EPOCHFLOW_TEST_CLOCK names, at any moment. Waits until a time of the wall clock end when that clock says so. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *shift;

__attribute__((constructor)) static void open_shift(void) {
  const char *path = getenv("EPOCHFLOW_TEST_CLOCK");
  int file = path ? open(path, O_RDONLY) : -1;
  if (file < 0) return;
  void *mapped = mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) shift = mapped;
  close(file);
}

static int64_t seconds(void) { return shift ? *shift : 0; }

int clock_gettime(clockid_t clock, struct timespec *at) {
  if (syscall(SYS_clock_gettime, clock, at) != 0) return -1;
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) at->tv_sec += seconds();
  return 0;
}

int gettimeofday(struct timeval *at, void *zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}

int timespec_get(struct timespec *at, int base) {
  clock_gettime(CLOCK_REALTIME, at);
  return base;
}

static int is_before(struct timespec a, struct timespec b) {
  return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

/* In slices, so that a jump of the clock moves the end of a wait that is under way. */
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
  static int (*wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
  const time_t wall_clock = 1000000000;
  if (!wait) wait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  if (until->tv_sec < wall_clock) return wait(condition, mutex, until);
  for (;;) {
    struct timespec now, end, slice;
    clock_gettime(CLOCK_REALTIME, &now);
    if (!is_before(now, *until)) return ETIMEDOUT;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &slice);
    slice.tv_nsec += 50 * 1000 * 1000;
    if (slice.tv_nsec >= 1000000000) {
      slice.tv_nsec -= 1000000000;
      slice.tv_sec += 1;
    }
    end = *until;
    end.tv_sec -= seconds();
    if (is_before(end, slice)) slice = end;
    int result = wait(condition, mutex, &slice);
    if (result != ETIMEDOUT) return result;
  }
}

/* The same, as C11 calls it: libc's own does not come by here. */
int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
  int result = pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until);
  return result == 0 ? thrd_success : result == ETIMEDOUT ? thrd_timedout : thrd_error;
}
