/*-------------------------------------------------------------------------
 *
 * full_disk.c
 *		Disks that are full while a file says so: to be preloaded by a server.
 *
 * FULL_DISKS lists directories, with colons between them.  While there is a file
 * with the name of one of them and ".full" after it, every write that would make
 * a file below that directory longer fails with ENOSPC.  As on most disks, what
 * is within a file can still be overwritten.  It takes no mount, hence no
 * privilege.
 *
 * These are all the ways in which PostgreSQL 15 to 19 make files longer, but for
 * copy_file_range, which only copies whole databases.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Is the path below the directory, of which there is so much, and that is full? */
static bool
is_below_full(const char *path, const char *directory, size_t length)
{
	char		flag[PATH_MAX];

	if (length == 0 || strncmp(path, directory, length) != 0 || path[length] != '/')
		return false;
	snprintf(flag, sizeof(flag), "%.*s.full", (int) length, directory);
	return access(flag, F_OK) == 0;
}

/* Would the file come to be longer than it is, and is its disk full? */
static bool
no_space(int fd, off_t end)
{
	int			saved = errno;
	bool		result = false;
	char		link[64];
	char		path[PATH_MAX];
	ssize_t		length;
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && end > st.st_size)
	{
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		length = readlink(link, path, sizeof(path) - 1);
		path[length > 0 ? length : 0] = '\0';
		for (const char *disk = getenv("FULL_DISKS"); disk && *disk && !result; disk += strspn(disk, ":"))
		{
			size_t		n = strcspn(disk, ":");

			result = is_below_full(path, disk, n);
			disk += n;
		}
	}
	errno = saved;
	return result;
}

static off_t
length_of(const struct iovec *iov, int count)
{
	off_t		sum = 0;

	for (int i = 0; i < count; i++)
		sum += iov[i].iov_len;
	return sum;
}

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))
#define FAIL_IF_FULL(fd, end, call) \
	if (no_space(fd, end)) \
	{ \
		errno = ENOSPC; \
		return -1; \
	} \
	return call

ssize_t
write(int fd, const void *buf, size_t n)
{
	off_t		at = lseek(fd, 0, SEEK_CUR);

	/* A pipe has no position, and is never full. */
	FAIL_IF_FULL(fd, at < 0 ? 0 : at + (off_t) n, REAL(write)(fd, buf, n));
}

ssize_t
pwrite(int fd, const void *buf, size_t n, off_t at)
{
	FAIL_IF_FULL(fd, at + (off_t) n, REAL(pwrite)(fd, buf, n, at));
}

ssize_t
pwrite64(int fd, const void *buf, size_t n, off64_t at)
{
	FAIL_IF_FULL(fd, at + (off_t) n, REAL(pwrite64)(fd, buf, n, at));
}

ssize_t
pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	FAIL_IF_FULL(fd, at + length_of(iov, count), REAL(pwritev)(fd, iov, count, at));
}

ssize_t
pwritev64(int fd, const struct iovec *iov, int count, off64_t at)
{
	FAIL_IF_FULL(fd, at + length_of(iov, count), REAL(pwritev64)(fd, iov, count, at));
}

/* These return the error. */
int
posix_fallocate(int fd, off_t at, off_t n)
{
	return no_space(fd, at + n) ? ENOSPC : REAL(posix_fallocate)(fd, at, n);
}

int
posix_fallocate64(int fd, off64_t at, off64_t n)
{
	return no_space(fd, at + n) ? ENOSPC : REAL(posix_fallocate64)(fd, at, n);
}
