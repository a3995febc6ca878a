/* Preloaded into a program: the file named by DISK_SHIM says what is wrong with the disk of DISK_SHIM_FOLDER.

   Its first letter: "w" the disk is read-only, "r" it cannot be read, "s" it does not answer a sync; no file: all is
   well. Files that are open already stay open, as when the kernel turns a failing card read-only: every write to them
   is refused with EROFS, and so is whatever would change the folder. A disk cannot be remounted so for a test, since
   the kernel refuses that while anybody has a file open for writing. A sync that is not answered waits until the letter
   changes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static char fault(void) {
    const char *switch_file = getenv("DISK_SHIM");
    char letter = 0;
    int fd = switch_file ? syscall(SYS_openat, AT_FDCWD, switch_file, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        if (syscall(SYS_read, fd, &letter, 1) != 1) letter = 0;
        syscall(SYS_close, fd);
    }
    return letter;
}

static int in_folder(const char *path) {
    const char *folder = getenv("DISK_SHIM_FOLDER");
    return folder && !strncmp(path, folder, strlen(folder));
}

static int is_in_folder(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return in_folder(path);
}

static int is_refused(int fd) { return is_in_folder(fd) && fault() == 'w'; }
static int is_unreadable(int fd) { return is_in_folder(fd) && fault() == 'r'; }

static void wait_for_disk(int fd) {
    int saved = errno;
    while (is_in_folder(fd) && fault() == 's') usleep(10000);
    errno = saved;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_IF(condition, error) if (condition) { errno = error; return -1; }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more); \
        FAIL_IF((flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) && in_folder(path) && fault() == 'w', EROFS) \
        return REAL(name)(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

ssize_t read(int fd, void *data, size_t size) {
    FAIL_IF(is_unreadable(fd), EIO)
    return REAL(read)(fd, data, size);
}
ssize_t pread(int fd, void *data, size_t size, off_t at) {
    FAIL_IF(is_unreadable(fd), EIO)
    return REAL(pread)(fd, data, size, at);
}
ssize_t pread64(int fd, void *data, size_t size, off64_t at) {
    FAIL_IF(is_unreadable(fd), EIO)
    return REAL(pread64)(fd, data, size, at);
}
ssize_t write(int fd, const void *data, size_t size) {
    FAIL_IF(is_refused(fd), EROFS)
    return REAL(write)(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    FAIL_IF(is_refused(fd), EROFS)
    return REAL(pwrite)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    FAIL_IF(is_refused(fd), EROFS)
    return REAL(pwrite64)(fd, data, size, at);
}
int fsync(int fd) {
    wait_for_disk(fd);
    return REAL(fsync)(fd);
}
int fdatasync(int fd) {
    wait_for_disk(fd);
    return REAL(fdatasync)(fd);
}
int ftruncate(int fd, off_t size) {
    FAIL_IF(is_refused(fd), EROFS)
    return REAL(ftruncate)(fd, size);
}
int ftruncate64(int fd, off64_t size) {
    FAIL_IF(is_refused(fd), EROFS)
    return REAL(ftruncate64)(fd, size);
}
int rename(const char *from, const char *to) {
    FAIL_IF(in_folder(to) && fault() == 'w', EROFS)
    return REAL(rename)(from, to);
}
int unlink(const char *path) {
    FAIL_IF(in_folder(path) && fault() == 'w', EROFS)
    return REAL(unlink)(path);
}
int truncate64(const char *path, off64_t size) {
    FAIL_IF(in_folder(path) && fault() == 'w', EROFS)
    return REAL(truncate64)(path, size);
}
