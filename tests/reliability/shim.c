/* Loaded before the C library (LD_PRELOAD): logs every call that changes a file below a directory,
 * and ends the process by SIGKILL at the n-th of them, or lets this one and all later ones fail.
 * SQLite's calls come by here as well.
 *
 * A record of the log is a header (struct record), the path, a second path or the bytes. It is
 * written after the call, so that the log never knows of more than what has happened.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, CREATE };

struct record {
    uint32_t op, path_length;
    int64_t offset, length; /* of what follows the path */
};

static char root[PATH_MAX];
static int log_fd = -1, is_torn, failure;
static long calls, last_call;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Watch this process from now on: log the calls below a directory, and end at a number of them
 * (0 for never); a torn write is half done before. With an error, calls fail from that number on:
 * ENOSPC is a full disk, where files can still be removed, any other a disk that is read-only. */
void shim_arm(const char *directory, const char *log, long end_at, int torn, int error)
{
    strncpy(root, directory, sizeof root - 1);
    log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    calls = 0, last_call = end_at, is_torn = torn, failure = error;
}

static int is_ours(const char *path)
{
    size_t length = strlen(path);
    return log_fd >= 0 && !strncmp(path, root, strlen(root)) &&
           !(length > 4 && !strcmp(path + length - 4, "-shm")); /* memory that processes share */
}

static int path_of(int fd, char *path)
{
    char link[64] = "/proc/self/fd/", digits[16];
    int place = sizeof digits - 1;
    digits[place] = 0;
    do digits[--place] = '0' + fd % 10; while (fd /= 10);
    strcat(link, digits + place);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return length > 0 && is_ours(path);
}

static const char *absolute(const char *path, char *buffer)
{
    if (path[0] == '/')
        return path;
    if (!getcwd(buffer, PATH_MAX))
        return "";
    strncat(buffer, "/", PATH_MAX - strlen(buffer) - 1);
    strncat(buffer, path, PATH_MAX - strlen(buffer) - 1);
    return buffer;
}

static void end(void)
{
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Count a call; true if the process has to end in it. */
static int counts(void) { return ++calls == last_call && !failure; }

/* Whether a call that was counted fails. */
static int fails(int op)
{
    if (!failure || !last_call || calls < last_call || op == SYNC)
        return 0;
    if (failure == ENOSPC && (op == RENAME || op == UNLINK))
        return 0;
    errno = failure;
    return 1;
}

static void note(int op, const char *path, int64_t offset, const void *data, int64_t length)
{
    struct record head = {op, strlen(path), offset, length};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)path, head.path_length},
                             {(void *)data, data ? length : 0}};
    if (!data)
        head.length = 0;
    syscall(SYS_writev, log_fd, parts, 3);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define SIMPLE(call, op, path, offset, data, length) \
    pthread_mutex_lock(&lock); \
    if (counts()) end(); \
    __typeof__(call) done = fails(op) ? -1 : call; \
    if (done >= 0) note(op, path, offset, data, length); \
    pthread_mutex_unlock(&lock); \
    return done;

ssize_t write(int fd, const void *data, size_t size)
{
    char path[PATH_MAX];
    if (log_fd < 0 || !path_of(fd, path))
        return syscall(SYS_write, fd, data, size);
    pthread_mutex_lock(&lock);
    int ends = counts(), appends = fcntl(fd, F_GETFL) & O_APPEND;
    if (ends && !is_torn)
        end();
    off_t place = lseek(fd, 0, appends ? SEEK_END : SEEK_CUR);
    ssize_t done = fails(WRITE) ? -1 : syscall(SYS_write, fd, data, ends ? size / 2 : size);
    if (done > 0)
        note(WRITE, path, place, data, done);
    if (ends)
        end();
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t place)
{
    char path[PATH_MAX];
    if (log_fd < 0 || !path_of(fd, path))
        return syscall(SYS_pwrite64, fd, data, size, place);
    pthread_mutex_lock(&lock);
    int ends = counts();
    if (ends && !is_torn)
        end();
    ssize_t done = fails(WRITE) ? -1 : syscall(SYS_pwrite64, fd, data, ends ? size / 2 : size, place);
    if (done > 0)
        note(WRITE, path, place, data, done);
    if (ends)
        end();
    pthread_mutex_unlock(&lock);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t place)
{
    return pwrite64(fd, data, size, place);
}

int ftruncate64(int fd, off64_t size)
{
    char path[PATH_MAX];
    if (log_fd < 0 || !path_of(fd, path))
        return syscall(SYS_ftruncate, fd, size);
    SIMPLE((int)syscall(SYS_ftruncate, fd, size), TRUNCATE, path, size, NULL, 0)
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int fsync(int fd)
{
    char path[PATH_MAX];
    if (log_fd < 0 || !path_of(fd, path))
        return syscall(SYS_fsync, fd);
    SIMPLE((int)syscall(SYS_fsync, fd), SYNC, path, 0, NULL, 0)
}
int fdatasync(int fd) { return fsync(fd); }

int rename(const char *from, const char *to)
{
    char one[PATH_MAX], two[PATH_MAX];
    from = absolute(from, one), to = absolute(to, two);
    if (!is_ours(to))
        return REAL(rename)(from, to);
    SIMPLE(REAL(rename)(from, to), RENAME, from, 0, to, strlen(to))
}

int unlink(const char *path)
{
    char one[PATH_MAX];
    path = absolute(path, one);
    if (!is_ours(path))
        return REAL(unlink)(path);
    SIMPLE(REAL(unlink)(path), UNLINK, path, 0, NULL, 0)
}

int mkdir(const char *path, mode_t mode)
{
    char one[PATH_MAX];
    path = absolute(path, one);
    if (!is_ours(path))
        return REAL(mkdir)(path, mode);
    SIMPLE(REAL(mkdir)(path, mode), MKDIR, path, 0, NULL, 0)
}

static int opened(int directory, const char *path, int flags, mode_t mode)
{
    char one[PATH_MAX];
    struct stat found;
    if (log_fd < 0 || directory != AT_FDCWD || !(flags & (O_CREAT | O_TRUNC)))
        return syscall(SYS_openat, directory, path, flags, mode);
    path = absolute(path, one);
    int exists = !stat(path, &found);
    if (!is_ours(path) || (exists && !((flags & O_TRUNC) && found.st_size)))
        return syscall(SYS_openat, directory, path, flags, mode);
    SIMPLE((int)syscall(SYS_openat, directory, path, flags, mode), exists ? TRUNCATE : CREATE,
           path, 0, NULL, 0)
}

#define MODE(flags, mode) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }
int open(const char *path, int flags, ...)
{
    MODE(flags, mode)
    return opened(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...)
{
    MODE(flags, mode)
    return opened(AT_FDCWD, path, flags, mode);
}
int openat(int directory, const char *path, int flags, ...)
{
    MODE(flags, mode)
    return opened(directory, path, flags, mode);
}
int openat64(int directory, const char *path, int flags, ...)
{
    MODE(flags, mode)
    return opened(directory, path, flags, mode);
}
