/* A library for LD_PRELOAD (Linux) that counts the calls which change files below a folder, and lets one of them go
 * wrong. It is told by the environment:
 *
 *    CLR_SHIM_FOLDER  the folder, an absolute path without symbolic links
 *    CLR_SHIM_AT      the number n of the call, from 1
 *    CLR_SHIM_FROM    a part of a path, or nothing: calls are counted from the first one on such a path
 *    CLR_SHIM_HOW     kill: SIGKILL instead of call n
 *                     full: from call n on there is no room (ENOSPC)
 *                     once: call n fails (EIO)
 *    CLR_SHIM_LOG     a file, to which "NAME PATH" of the call is added when it goes wrong
 *
 * Most calls are those of the C library. Some Rust crates rename files by a system call of their own, which no library
 * sees, so a seccomp filter hands renames to a signal handler that makes them in its turn.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

static enum { KILL, FULL, ONCE } how;
static const char *folder;
static const char *log_file;
static const char *from;
static long at;
static long calls;

/* Whether `path` is in the folder. */
static int is_below(const char *path) {
   char absolute[8192];
   size_t length;
   if (folder == NULL) return 0;
   if (path[0] != '/') {
      size_t cwd;
      if (getcwd(absolute, sizeof absolute / 2) == NULL) return 0;
      cwd = strlen(absolute);
      snprintf(absolute + cwd, sizeof absolute - cwd, "/%s", path);
      path = absolute;
   }
   length = strlen(folder);
   return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static void note(const char *name, const char *path) {
   char line[8192];
   int length = snprintf(line, sizeof line, "%s %s\n", name, path);
   int file = (int)syscall(SYS_openat, AT_FDCWD, log_file, O_WRONLY | O_CREAT | O_APPEND, 0644);
   if (file < 0) return;
   syscall(SYS_write, file, line, (size_t)length);
   syscall(SYS_close, file);
}

/* Counts a call on `path`. Returns 0, or the error that it is to end with. */
static int judge(const char *name, const char *path, int needs_room) {
   long number;
   if (!is_below(path)) return 0;
   if (from != NULL && calls == 0 && strstr(path, from) == NULL) return 0;
   number = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
   if (how == KILL && number == at) {
      note(name, path);
      syscall(SYS_kill, getpid(), SIGKILL);
   }
   if (how == FULL && number >= at && needs_room) {
      note(name, path);
      return ENOSPC;
   }
   if (how == ONCE && number == at) {
      note(name, path);
      return EIO;
   }
   return 0;
}

static int judge_file(const char *name, int file, int needs_room) {
   char link[64], path[4096];
   long length;
   snprintf(link, sizeof link, "/proc/self/fd/%d", file);
   length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
   if (length < 0) return 0;
   path[length] = '\0';
   return judge(name, path, needs_room);
}

static long fail(int error) {
   errno = error;
   return -1;
}

static int open_at(int directory, const char *path, int flags, unsigned mode) {
   int error = 0;
   if (flags & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC)) error = judge("open", path, flags & O_CREAT);
   return (int)(error ? fail(error) : syscall(SYS_openat, directory, path, flags, mode));
}

/* The mode is there only with O_CREAT or O_TMPFILE. */
#define OPEN(directory)                                                                                                \
   unsigned mode = 0;                                                                                                  \
   if (flags & (O_CREAT | O_TMPFILE)) {                                                                                \
      va_list arguments;                                                                                               \
      va_start(arguments, flags);                                                                                      \
      mode = va_arg(arguments, unsigned);                                                                              \
      va_end(arguments);                                                                                               \
   }                                                                                                                   \
   return open_at(directory, path, flags, mode)

int open(const char *path, int flags, ...) { OPEN(AT_FDCWD); }
int open64(const char *path, int flags, ...) { OPEN(AT_FDCWD); }
int openat(int directory, const char *path, int flags, ...) { OPEN(directory); }
int openat64(int directory, const char *path, int flags, ...) { OPEN(directory); }

ssize_t write(int file, const void *bytes, size_t count) {
   int error = judge_file("write", file, 1);
   return error ? fail(error) : syscall(SYS_write, file, bytes, count);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
   int error = judge_file("write", file, 1);
   return error ? fail(error) : syscall(SYS_writev, file, parts, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
   int error = judge_file("write", file, 1);
   return error ? fail(error) : syscall(SYS_pwrite64, file, bytes, count, offset);
}

int ftruncate64(int file, off64_t length) {
   int error = judge_file("ftruncate", file, 1);
   return (int)(error ? fail(error) : syscall(SYS_ftruncate, file, length));
}

int fsync(int file) {
   int error = judge_file("fsync", file, 1);
   return (int)(error ? fail(error) : syscall(SYS_fsync, file));
}

int fdatasync(int file) {
   int error = judge_file("fsync", file, 1);
   return (int)(error ? fail(error) : syscall(SYS_fdatasync, file));
}

int unlink(const char *path) {
   int error = judge("unlink", path, 0);
   return (int)(error ? fail(error) : syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}

int mkdir(const char *path, mode_t mode) {
   int error = judge("mkdir", path, 1);
   return (int)(error ? fail(error) : syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}

/* What the kernel ignores in a sixth argument, and the filter knows: this rename comes from here. */
#define OURS 0x5ca1ab1eL

static void on_rename(int signal, siginfo_t *info, void *context) {
   ucontext_t *state = context;
   int number = info->si_syscall, kept = errno, error;
   long arguments[5], result;
   (void)signal;
#if defined(__x86_64__)
   arguments[0] = (long)state->uc_mcontext.gregs[REG_RDI];
   arguments[1] = (long)state->uc_mcontext.gregs[REG_RSI];
   arguments[2] = (long)state->uc_mcontext.gregs[REG_RDX];
   arguments[3] = (long)state->uc_mcontext.gregs[REG_R10];
   arguments[4] = (long)state->uc_mcontext.gregs[REG_R8];
#elif defined(__aarch64__)
   for (int i = 0; i < 5; i++) arguments[i] = (long)state->uc_mcontext.regs[i];
#endif
#ifdef SYS_rename
   error = judge("rename", (const char *)arguments[number == SYS_rename ? 1 : 3], 1);
#else
   error = judge("rename", (const char *)arguments[3], 1);
#endif
   result = -error;
   if (error == 0) {
      result = syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], OURS);
      if (result < 0) result = -errno;
   }
#if defined(__x86_64__)
   state->uc_mcontext.gregs[REG_RAX] = result;
#elif defined(__aarch64__)
   state->uc_mcontext.regs[0] = (unsigned long)result;
#endif
   errno = kept;
}

/* Sends renames to `on_rename`, but those made there. */
static int trap_renames(void) {
   struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
#ifdef SYS_rename
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rename, 3, 0),
#else
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat, 3, 0),
#endif
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OURS, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
   };
   struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
   struct sigaction action;
   memset(&action, 0, sizeof action);
   action.sa_sigaction = on_rename;
   action.sa_flags = SA_SIGINFO;
   return sigaction(SIGSYS, &action, NULL) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
          prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

__attribute__((constructor)) static void start(void) {
   const char *name = getenv("CLR_SHIM_HOW"), *number = getenv("CLR_SHIM_AT");
   log_file = getenv("CLR_SHIM_LOG");
   if (name == NULL || number == NULL || log_file == NULL) return;
   how = strcmp(name, "kill") == 0 ? KILL : strcmp(name, "full") == 0 ? FULL : ONCE;
   at = atol(number);
   from = getenv("CLR_SHIM_FROM");
   folder = getenv("CLR_SHIM_FOLDER");
   if (!trap_renames()) note("no-seccomp", "");
}
