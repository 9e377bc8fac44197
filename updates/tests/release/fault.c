/* Loaded before the program under test: kills it at the Nth call that changes a file system. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static int left = -1;

static void step(void) {
    if (left < 0) {
        const char *at = getenv("FAULT_AT");
        left = at ? atoi(at) : 0;
    }
    if (left > 0 && --left == 0)
        kill(getpid(), SIGKILL);
}

#define ORIGINAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) { step(); return ORIGINAL(fsync)(fd); }
int rename(const char *from, const char *to) { step(); return ORIGINAL(rename)(from, to); }
int unlink(const char *path) { step(); return ORIGINAL(unlink)(path); }
ssize_t write(int fd, const void *bytes, size_t length) {
    if (fd > 2)
        step();
    return ORIGINAL(write)(fd, bytes, length);
}
