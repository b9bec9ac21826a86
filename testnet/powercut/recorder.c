/* Appends every change below $PC_DIR to $PC_LOG: one record each, in the order in which it happened.
 * A record: op, length of the first path, length of data, inode, offset; path; data (or 2nd path). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define PATH 4096

struct record { uint8_t op, pad; uint16_t name; uint32_t data; uint64_t inode, offset; };
static int log_fd = -1;
static char root[PATH];
static size_t root_len;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static int ready(void) {
    if (log_fd >= 0) return 1;
    const char *log = getenv("PC_LOG"), *dir = getenv("PC_DIR");
    if (!log || !dir) return 0;
    snprintf(root, sizeof root, "%s", dir);
    root_len = strlen(root);
    int fd = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return 0;
    log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 2000);
    if (log_fd < 0) log_fd = fd; else REAL(close)(fd);
    return 1;
}

static void emit(int op, const char *name, uint64_t inode, uint64_t offset, const void *data, size_t len) {
    int before = errno;
    struct record head = {op, 0, strlen(name), len, inode, offset};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)name, head.name}, {(void *)data, len}};
    pthread_mutex_lock(&turn);
    if (REAL(writev)(log_fd, parts, 3) < 0) {
        log_fd = -1;  /* a shim closes every descriptor that it does not know */
        if (errno != EBADF || !ready() || REAL(writev)(log_fd, parts, 3) < 0) abort();
    }
    pthread_mutex_unlock(&turn);
    errno = before;
}

/* The absolute path of `path` seen from `at`; 0 when it is not below the root. */
static int below(int at, const char *path, char *full) {
    char base[PATH];
    if (!ready()) return 0;
    if (path[0] == '/') {
        /* /proc/self/fd/N/name names what descriptor N is open on */
        int fd, used = 0;
        if (sscanf(path, "/proc/self/fd/%d/%n", &fd, &used) == 1 && used) return below(fd, path + used, full);
        snprintf(full, PATH, "%s", path);
    } else {
        char link[64];
        if (at == AT_FDCWD) { if (!getcwd(base, sizeof base)) return 0; }
        else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
            ssize_t n = readlink(link, base, sizeof base - 1);
            if (n < 0) return 0;
            base[n] = 0;
        }
        if ((size_t)snprintf(full, PATH, "%s/%s", base, path) >= PATH) return 0;
    }
    return !strncmp(full, root, root_len) && (full[root_len] == '/' || !full[root_len]);
}

/* The inode of an open file or folder below the root, else 0. */
static uint64_t inode_of(int fd) {
    char link[64], path[PATH];
    struct stat found;
    if (!ready()) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    if (strncmp(path, root, root_len) || (path[root_len] != '/' && path[root_len])) return 0;
    if (fstat(fd, &found) || !(S_ISREG(found.st_mode) || S_ISDIR(found.st_mode))) return 0;
    return found.st_ino;
}

static int opened(int at, const char *path, int flags, mode_t mode) {
    char full[PATH];
    struct stat found;
    int ours = below(at, path, full);
    int was = ours && !fstatat(at, path, &found, AT_SYMLINK_NOFOLLOW);
    int fd = REAL(openat)(at, path, flags, mode);
    if (ours && fd >= 0 && !fstat(fd, &found) && S_ISREG(found.st_mode)) {
        if ((flags & O_CREAT) && !was) emit('c', full, found.st_ino, 0, 0, 0);
        else if (flags & O_TRUNC) emit('T', "", found.st_ino, 0, 0, 0);
    }
    return fd;
}

#define MODE mode_t mode = 0; if (flags & O_CREAT) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE return opened(at, path, flags, mode); }

static void wrote(int fd, const void *data, ssize_t len, off_t at) {
    uint64_t inode = len > 0 ? inode_of(fd) : 0;
    if (!inode) return;
    emit('w', "", inode, at, data, len);
    if (fcntl(fd, F_GETFL) & O_DSYNC) emit('s', "", inode, 0, 0, 0);
}
static off_t place(int fd) {
    struct stat found;
    if (fcntl(fd, F_GETFL) & O_APPEND) return fstat(fd, &found) ? 0 : found.st_size;
    return lseek(fd, 0, SEEK_CUR);
}
ssize_t write(int fd, const void *data, size_t len) {
    off_t at = inode_of(fd) ? place(fd) : 0;
    ssize_t done = REAL(write)(fd, data, len);
    wrote(fd, data, done, at);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t len, off_t at) {
    ssize_t done = REAL(pwrite)(fd, data, len, at);
    wrote(fd, data, done, at);
    return done;
}
ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at) { return pwrite(fd, data, len, at); }
static void vector(int fd, const struct iovec *parts, int count, ssize_t done, off_t at) {
    for (int i = 0; i < count && done > 0; i++) {
        ssize_t len = (ssize_t)parts[i].iov_len < done ? (ssize_t)parts[i].iov_len : done;
        wrote(fd, parts[i].iov_base, len, at);
        at += len; done -= len;
    }
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    off_t at = inode_of(fd) ? place(fd) : 0;
    ssize_t done = REAL(writev)(fd, parts, count);
    vector(fd, parts, count, done, at);
    return done;
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    ssize_t done = REAL(pwritev)(fd, parts, count, at);
    vector(fd, parts, count, done, at);
    return done;
}
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    ssize_t done = REAL(pwritev2)(fd, parts, count, at, flags);
    vector(fd, parts, count, done, at);
    return done;
}
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t at, int flags) { return pwritev2(fd, parts, count, at, flags); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) { return pwritev(fd, parts, count, at); }
ssize_t sendfile(int out, int in, off_t *offset, size_t len) {
    off_t at = inode_of(out) ? place(out) : 0;
    ssize_t done = REAL(sendfile)(out, in, offset, len);
    if (done > 0 && inode_of(out)) {
        char *copy = malloc(done), link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", out);
        int again = REAL(open)(link, O_RDONLY | O_CLOEXEC);
        if (copy && again >= 0 && pread(again, copy, done, at) == done) wrote(out, copy, done, at);
        if (again >= 0) REAL(close)(again);
        free(copy);
    }
    return done;
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t len) { return sendfile(out, in, offset, len); }

static int synced(int fd, int result) {
    uint64_t inode = result ? 0 : inode_of(fd);
    if (inode) emit('s', "", inode, 0, 0, 0);
    return result;
}
int fsync(int fd) { return synced(fd, REAL(fsync)(fd)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)(fd)); }
int ftruncate(int fd, off_t len) {
    int result = REAL(ftruncate)(fd, len);
    uint64_t inode = result ? 0 : inode_of(fd);
    if (inode) emit('T', "", inode, len, 0, 0);
    return result;
}
int ftruncate64(int fd, off64_t len) { return ftruncate(fd, len); }

static int moved(int from_at, const char *from, int to_at, const char *to, int op, int result) {
    char a[PATH], b[PATH];
    if (!result && below(from_at, from, a) && below(to_at, to, b)) emit(op, a, 0, 0, b, strlen(b));
    return result;
}
int rename(const char *from, const char *to) { return moved(AT_FDCWD, from, AT_FDCWD, to, 'r', REAL(rename)(from, to)); }
int renameat(int a, const char *from, int b, const char *to) { return moved(a, from, b, to, 'r', REAL(renameat)(a, from, b, to)); }
int link(const char *from, const char *to) { return moved(AT_FDCWD, from, AT_FDCWD, to, 'l', REAL(link)(from, to)); }
int linkat(int a, const char *from, int b, const char *to, int flags) { return moved(a, from, b, to, 'l', REAL(linkat)(a, from, b, to, flags)); }

static int named(int at, const char *path, int op, int result) {
    char full[PATH];
    struct stat found = {0};
    if (!result && below(at, path, full)) {
        if (op == 'd') fstatat(at, path, &found, 0);
        emit(op, full, found.st_ino, 0, 0, 0);
    }
    return result;
}
int unlink(const char *path) { return named(AT_FDCWD, path, 'u', REAL(unlink)(path)); }
int unlinkat(int at, const char *path, int flags) { return named(at, path, 'u', REAL(unlinkat)(at, path, flags)); }
int rmdir(const char *path) { return named(AT_FDCWD, path, 'u', REAL(rmdir)(path)); }
int mkdir(const char *path, mode_t mode) { return named(AT_FDCWD, path, 'd', REAL(mkdir)(path, mode)); }
int mkdirat(int at, const char *path, mode_t mode) { return named(at, path, 'd', REAL(mkdirat)(at, path, mode)); }
int mkfifo(const char *path, mode_t mode) { return named(AT_FDCWD, path, 'f', REAL(mkfifo)(path, mode)); }

/* The shim is spawned with an environment of its own: it is recorded, too. */
int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const argv[], char *const environment[]) {
    static const char *const ours[] = {"LD_PRELOAD", "PC_LOG", "PC_DIR"};
    char *with[64];
    int n = 0;
    while (n < 60 && environment[n]) { with[n] = environment[n]; n++; }
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(ours[i]);
        if (value && asprintf(&with[n], "%s=%s", ours[i], value) > 0) n++;
    }
    with[n] = 0;
    return REAL(posix_spawn)(pid, path, actions, attributes, argv, with);
}
