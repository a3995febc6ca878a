/* Preloaded into a program: while the file named by DISK_SHIM exists, the folder beside it is on a read-only disk.

   Files that are open already stay open, as when the kernel turns a failing card read-only: every write to them is
   refused with EROFS, and so is whatever would change the folder. A disk cannot be remounted so for a test, since the
   kernel refuses that while anybody has a file open for writing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int in_folder(const char *path) {
    const char *switch_file = getenv("DISK_SHIM"), *folder = getenv("DISK_SHIM_FOLDER");
    return switch_file && folder && !strncmp(path, folder, strlen(folder)) && !access(switch_file, F_OK);
}

static int is_refused(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return in_folder(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define REFUSE_IF(condition) if (condition) { errno = EROFS; return -1; }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        REFUSE_IF((flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) && in_folder(path)) \
        return REAL(name)(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *data, size_t size) {
    REFUSE_IF(is_refused(fd))
    return REAL(write)(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REFUSE_IF(is_refused(fd))
    return REAL(pwrite)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REFUSE_IF(is_refused(fd))
    return REAL(pwrite64)(fd, data, size, at);
}
int ftruncate(int fd, off_t size) {
    REFUSE_IF(is_refused(fd))
    return REAL(ftruncate)(fd, size);
}
int ftruncate64(int fd, off64_t size) {
    REFUSE_IF(is_refused(fd))
    return REAL(ftruncate64)(fd, size);
}
int rename(const char *from, const char *to) {
    REFUSE_IF(in_folder(to))
    return REAL(rename)(from, to);
}
int unlink(const char *path) {
    REFUSE_IF(in_folder(path))
    return REAL(unlink)(path);
}
int truncate64(const char *path, off64_t size) {
    REFUSE_IF(in_folder(path))
    return REAL(truncate64)(path, size);
}
