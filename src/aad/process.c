
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Runs a program from within a process that is not ours: nginx's workers reap
 * any child that they learn of, and log it as an unknown process.  So a
 * supervisor stands between: a child without exit signal, which waitpid(-1)
 * passes over, is the program's parent and tells us how it ended.  Between
 * clone() and exec() only system calls are made, for other threads may hold
 * any lock of the C library.
 */


#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>


#define AAD_POLL_MS                 50
#define AAD_END_MS                  1000
#define AAD_SIGNALS                 65
#define AAD_DESCRIPTORS_MAX         1048576


/* what supervisor and program tell of themselves, one write() each */
typedef enum {
    AAD_NOT_EXECUTED = 1,                   /* value: errno */
    AAD_ENDED                               /* value: wait status */
} aad_news_kind_t;

typedef struct {
    aad_news_kind_t         kind;
    int                     value;
} aad_news_t;


typedef struct {
    int                     out[2];
    int                     err[2];
    int                     news[2];
    pid_t                   supervisor;
    int                     not_executed;   /* errno */
    int                     ended;
} aad_child_t;


static int aad_process_pipes(aad_child_t *child);
static int aad_process_wait(aad_call_t *call, const aad_process_t *process,
    aad_child_t *child, aad_output_t *output, aad_error_t *error);
static int aad_process_read(int *fd, aad_secret_t *secret);
static void aad_process_news(aad_child_t *child, aad_output_t *output);
static void aad_process_end(aad_child_t *child);
static void aad_process_supervise(const aad_process_t *process,
    aad_child_t *child, pid_t parent, int descriptors);
static void aad_process_end_group(int signal);
static void aad_process_execute(const aad_process_t *process,
    aad_child_t *child, int descriptors);
static void aad_process_tell(int fd, aad_news_kind_t kind, int value);
static void aad_process_close_from(int fd, int descriptors);
static void aad_process_close(int *fd);
static pid_t aad_process_clone(int exit_signal);


/* in a supervisor's own memory: what its signal handler ends */
static volatile pid_t  aad_process_group;


int
aad_process(aad_call_t *call, const aad_process_t *process,
    aad_output_t *output, aad_error_t *error)
{
    int          rc, descriptors;
    pid_t        parent;
    sigset_t     all, before;
    aad_child_t  child;

    aad_secret_init(&output->out, AAD_BODY_BYTES_MAX);
    aad_secret_init(&output->err, AAD_BODY_BYTES_MAX);
    output->status = -1;

    memset(&child, 0, sizeof(aad_child_t));

    if (aad_process_pipes(&child) != 0) {
        return aad_error(error, "cannot make a pipe: %s", strerror(errno));
    }

    descriptors = (int) sysconf(_SC_OPEN_MAX);

    if (descriptors < 0 || descriptors > AAD_DESCRIPTORS_MAX) {
        descriptors = AAD_DESCRIPTORS_MAX;
    }

    parent = getpid();

    /* no handler of ours may run in the supervisor */

    sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);

    child.supervisor = aad_process_clone(0);

    if (child.supervisor == 0) {
        aad_process_supervise(process, &child, parent, descriptors);
    }

    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);

    if (child.supervisor == -1) {
        rc = aad_error(error, "cannot start a process: %s", strerror(errno));

    } else {
        aad_process_close(&child.out[1]);
        aad_process_close(&child.err[1]);
        aad_process_close(&child.news[1]);

        rc = aad_process_wait(call, process, &child, output, error);

        aad_process_end(&child);
    }

    aad_process_close(&child.out[0]);
    aad_process_close(&child.out[1]);
    aad_process_close(&child.err[0]);
    aad_process_close(&child.err[1]);
    aad_process_close(&child.news[0]);
    aad_process_close(&child.news[1]);

    return rc;
}


static int
aad_process_pipes(aad_child_t *child)
{
    int  i, saved;
    int *pipes[] = { child->out, child->err, child->news };

    for (i = 0; i < 3; i++) {
        pipes[i][0] = -1;
        pipes[i][1] = -1;
    }

    for (i = 0; i < 3; i++) {

        if (pipe2(pipes[i], O_CLOEXEC) == -1
            || fcntl(pipes[i][0], F_SETFL, O_NONBLOCK) == -1)
        {
            saved = errno;

            for (i = 0; i < 3; i++) {
                aad_process_close(&pipes[i][0]);
                aad_process_close(&pipes[i][1]);
            }

            errno = saved;
            return -1;
        }
    }

    return 0;
}


/*
 * Reads until the program has ended: by then all that it printed is in the
 * pipes, and who still holds them open is something that it left behind.
 */
static int
aad_process_wait(aad_call_t *call, const aad_process_t *process,
    aad_child_t *child, aad_output_t *output, aad_error_t *error)
{
    int            ended;
    int64_t        end_ms, left_ms;
    struct pollfd  fds[3];

    end_ms = call->hooks->monotonic_ms(call->hooks->data)
             + process->timeout_ms;

    do {
        left_ms = end_ms - call->hooks->monotonic_ms(call->hooks->data);

        if (aad_time_left_ms(call) == 0 || left_ms <= 0) {
            return aad_error(error, "%s did not end in time",
                             process->argv[0]);
        }

        fds[0].fd = child->out[0];
        fds[1].fd = child->err[0];
        fds[2].fd = child->news[0];
        fds[0].events = fds[1].events = fds[2].events = POLLIN;

        (void) poll(fds, 3, left_ms < AAD_POLL_MS ? (int) left_ms
                                                  : AAD_POLL_MS);

        /* the end first, so that what is read after it is the rest */

        aad_process_news(child, output);
        ended = child->ended;

        if (aad_process_read(&child->out[0], &output->out) != 0) {
            return aad_error(error, "%s printed more than %d bytes",
                             process->argv[0], AAD_BODY_BYTES_MAX);
        }

        /* more than fits of what it complains of is of no interest */

        (void) aad_process_read(&child->err[0], &output->err);

    } while (!ended);

    if (child->not_executed != 0) {
        return aad_error(error, "cannot execute %s: %s", process->argv[0],
                         strerror(child->not_executed));
    }

    return 0;
}


/* Returns -1 when more was read than the secret holds. */
static int
aad_process_read(int *fd, aad_secret_t *secret)
{
    int      rc;
    char     chunk[4096];
    ssize_t  n;

    rc = 0;

    while (*fd != -1) {

        n = read(*fd, chunk, sizeof(chunk));

        if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
            break;
        }

        if (n <= 0) {
            aad_process_close(fd);
            break;
        }

        if (aad_secret_append(secret, chunk, n) != 0) {
            rc = -1;
            break;
        }
    }

    explicit_bzero(chunk, sizeof(chunk));

    return rc;
}


static void
aad_process_news(aad_child_t *child, aad_output_t *output)
{
    ssize_t     n;
    aad_news_t  news;

    while (child->news[0] != -1) {

        n = read(child->news[0], &news, sizeof(aad_news_t));

        if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }

        if (n != (ssize_t) sizeof(aad_news_t)) {
            /* the supervisor is gone, there will be no more */
            aad_process_close(&child->news[0]);
            child->ended = 1;
            return;
        }

        switch (news.kind) {

        case AAD_NOT_EXECUTED:
            child->not_executed = news.value;
            break;

        case AAD_ENDED:
            child->ended = 1;

            if (WIFEXITED(news.value)) {
                output->status = WEXITSTATUS(news.value);
            }

            break;
        }
    }
}


/*
 * The supervisor ends whatever still runs of the program, and itself; one that
 * is kept by what has left the program's group is killed.
 */
static void
aad_process_end(aad_child_t *child)
{
    int  waited_ms;

    (void) kill(child->supervisor, SIGTERM);

    for (waited_ms = 0; waited_ms < AAD_END_MS; waited_ms++) {

        if (waitpid(child->supervisor, NULL, __WALL|WNOHANG) != 0) {
            return;
        }

        (void) poll(NULL, 0, 1);
    }

    (void) kill(child->supervisor, SIGKILL);

    while (waitpid(child->supervisor, NULL, __WALL) == -1 && errno == EINTR) {
        /* void */
    }
}


/*
 * The supervisor: the program's parent, and of what the program leaves behind,
 * so that none of it falls to an nginx that is the container's first process.
 * SIGTERM, which it also gets when its own parent dies, ends them all.
 */
static void
aad_process_supervise(const aad_process_t *process, aad_child_t *child,
    pid_t parent, int descriptors)
{
    int               i, status;
    pid_t             pid, ended;
    sigset_t          none;
    struct sigaction  sa;

    /* nginx's handlers would act in here; what is ignored stays so in exec */

    memset(&sa, 0, sizeof(struct sigaction));
    sa.sa_handler = SIG_DFL;

    for (i = 1; i < AAD_SIGNALS; i++) {
        (void) sigaction(i, &sa, NULL);
    }

    (void) prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);

    /* signals are blocked until the program's group is there to be ended */

    pid = aad_process_clone(SIGCHLD);

    if (pid == 0) {
        aad_process_execute(process, child, descriptors);
    }

    if (pid == -1) {
        aad_process_tell(child->news[1], AAD_NOT_EXECUTED, errno);
        _exit(127);
    }

    (void) setpgid(pid, pid);

    aad_process_group = pid;

    sa.sa_handler = aad_process_end_group;
    (void) sigaction(SIGTERM, &sa, NULL);

    (void) prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);

    sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);

    if (getppid() != parent) {
        aad_process_end_group(SIGTERM);
    }

    /* hold no end of the program's pipes open, nor the server's sockets */

    (void) dup2(child->news[1], 0);
    aad_process_close_from(1, descriptors);

    for ( ;; ) {
        ended = waitpid(-1, &status, 0);

        if (ended == pid) {
            aad_process_tell(0, AAD_ENDED, status);
        }

        if (ended == -1 && errno != EINTR) {
            _exit(0);
        }
    }
}


static void
aad_process_end_group(int signal)
{
    (void) signal;
    (void) kill(-aad_process_group, SIGKILL);
}


static void
aad_process_execute(const aad_process_t *process, aad_child_t *child,
    int descriptors)
{
    int       null;
    sigset_t  none;

    (void) setpgid(0, 0);

    /* the pipes' ends are above 2: an nginx has all three open */

    null = open("/dev/null", O_RDONLY);

    if (null == -1 || dup2(null, 0) == -1 || dup2(child->out[1], 1) == -1
        || dup2(child->err[1], 2) == -1 || dup2(child->news[1], 3) == -1
        || fcntl(3, F_SETFD, FD_CLOEXEC) == -1 || chdir("/") == -1)
    {
        aad_process_tell(child->news[1], AAD_NOT_EXECUTED, errno);
        _exit(127);
    }

    aad_process_close_from(4, descriptors);

    sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);

    (void) execve(process->argv[0], (char *const *) process->argv,
                  (char *const *) process->envp);

    aad_process_tell(3, AAD_NOT_EXECUTED, errno);
    _exit(127);
}


static void
aad_process_tell(int fd, aad_news_kind_t kind, int value)
{
    aad_news_t  news;

    memset(&news, 0, sizeof(aad_news_t));
    news.kind = kind;
    news.value = value;

    while (write(fd, &news, sizeof(aad_news_t)) == -1 && errno == EINTR) {
        /* void */
    }
}


static void
aad_process_close_from(int fd, int descriptors)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, fd, ~0U, 0) == 0) {
        return;
    }
#endif

    while (fd < descriptors) {
        (void) close(fd++);
    }
}


static void
aad_process_close(int *fd)
{
    if (*fd != -1) {
        (void) close(*fd);
        *fd = -1;
    }
}


/* fork() without the C library's handlers, and with a choice of signal */
static pid_t
aad_process_clone(int exit_signal)
{
    return (pid_t) syscall(SYS_clone, exit_signal, 0, 0, 0, 0);
}
