
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * Programs that are run: what they get, what they cannot get, their end, and
 * that the caller never learns of a child.
 */


#include "check.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>


#define GONE_MS         3000
#define SIGNALS         64
#define SCRIPT_BYTES    1024

/* 32 and 33: whoever was started by posix_spawn() may have them ignored */
#define C_LIBRARY_SIGNALS  0x180000000ull


typedef struct {
    unit_clock_t            clock;
    aad_hooks_t             hooks;
    aad_call_t              call;
    aad_output_t            output;
    aad_error_t             error;
    char                    marker[32];     /* an odd number of seconds */
} fixture_t;


static const char *const  no_environment[] = { NULL };

static volatile sig_atomic_t  children_signalled;


static int
setup(void **state)
{
    fixture_t  *fixture;

    static unsigned  number;

    fixture = calloc(1, sizeof(fixture_t));
    assert_non_null(fixture);

    fixture->hooks = unit_clock_start(&fixture->clock);
    fixture->call.hooks = &fixture->hooks;
    fixture->call.deadline_ms = 20000;

    /* what is found in the process list belongs to this very test */

    snprintf(fixture->marker, sizeof(fixture->marker), "60.%d%03u",
             (int) getpid(), number++);

    *state = fixture;

    return 0;
}


static int
teardown(void **state)
{
    fixture_t  *fixture = *state;

    aad_secret_wipe(&fixture->output.out);
    aad_secret_wipe(&fixture->output.err);
    free(fixture);

    return 0;
}


static int
run_with(fixture_t *fixture, const char *const *argv, const char *const *envp,
    int64_t timeout_ms)
{
    aad_process_t  process;

    aad_secret_wipe(&fixture->output.out);
    aad_secret_wipe(&fixture->output.err);

    process.argv = argv;
    process.envp = envp;
    process.timeout_ms = timeout_ms;

    return aad_process(&fixture->call, &process, &fixture->output,
                       &fixture->error);
}


static int
run(fixture_t *fixture, const char *const *argv)
{
    return run_with(fixture, argv, no_environment, 10000);
}


/* Runs a shell script in which MARKER stands for the test's marker. */
static int
run_script(fixture_t *fixture, const char *script, int64_t timeout_ms)
{
    char         text[SCRIPT_BYTES];
    size_t       length;
    const char  *argv[] = { "/bin/sh", "-c", text, NULL };
    const char  *p;

    text[0] = '\0';

    for (p = strstr(script, "MARKER"); p != NULL; p = strstr(script, "MARKER"))
    {
        length = strlen(text);
        snprintf(text + length, sizeof(text) - length, "%.*s%s",
                 (int) (p - script), script, fixture->marker);
        script = p + 6;
    }

    length = strlen(text);
    snprintf(text + length, sizeof(text) - length, "%s", script);

    return run_with(fixture, argv, no_environment, timeout_ms);
}


/* Returns how many processes have the text among their arguments. */
static int
processes_with(const char *text)
{
    int             fd, count;
    DIR            *dir;
    char            path[UNIT_PATH_BYTES], line[4096];
    ssize_t         i, n;
    struct dirent  *entry;

    dir = opendir("/proc");
    assert_non_null(dir);
    count = 0;

    for (entry = readdir(dir); entry != NULL; entry = readdir(dir)) {

        if (strspn(entry->d_name, "0123456789") != strlen(entry->d_name)) {
            continue;
        }

        snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);

        fd = open(path, O_RDONLY|O_CLOEXEC);
        if (fd == -1) {
            continue;
        }

        n = read(fd, line, sizeof(line) - 1);
        close(fd);

        for (i = 0; i < n; i++) {
            line[i] = line[i] == '\0' ? ' ' : line[i];
        }

        line[n > 0 ? n : 0] = '\0';
        count += strstr(line, text) != NULL;
    }

    closedir(dir);

    return count;
}


static void
assert_none_left(const fixture_t *fixture)
{
    int      left;
    int64_t  end_ms;

    end_ms = unit_real_ms() + GONE_MS;

    do {
        left = processes_with(fixture->marker);
        if (left == 0) {
            return;
        }

        unit_sleep_ms(20);

    } while (unit_real_ms() < end_ms);

    fail_msg("%d processes are left", left);
}


static void
assert_no_child(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG|__WALL), -1);
    assert_int_equal(errno, ECHILD);
}


static void
test_output_and_exit_status_are_told(void **state)
{
    fixture_t  *fixture = *state;

    assert_int_equal(run_script(fixture, "echo out; echo err >&2", 10000), 0);
    assert_string_equal(fixture->output.out.data, "out\n");
    assert_string_equal(fixture->output.err.data, "err\n");
    assert_int_equal(fixture->output.status, 0);

    assert_int_equal(run_script(fixture, "exit 42", 10000), 0);
    assert_string_equal(fixture->output.out.data, "");
    assert_string_equal(fixture->output.err.data, "");
    assert_int_equal(fixture->output.status, 42);

    assert_int_equal(run_script(fixture, "kill -TERM $$", 10000), 0);
    assert_int_equal(fixture->output.status, -1);
}


static void
test_late_output_is_waited_for(void **state)
{
    fixture_t  *fixture = *state;

    assert_int_equal(run_script(fixture, "echo 1; sleep 0.2; echo 2; "
                                "sleep 0.2; echo 3; exit 7", 10000), 0);
    assert_string_equal(fixture->output.out.data, "1\n2\n3\n");
    assert_int_equal(fixture->output.status, 7);
}


static void
test_end_is_waited_for_though_output_is_closed(void **state)
{
    fixture_t  *fixture = *state;

    assert_int_equal(run_script(fixture, "exec >&- 2>&-; sleep 0.3; exit 7",
                                10000), 0);
    assert_int_equal(fixture->output.status, 7);
}


static void
test_arguments_are_passed_as_they_are(void **state)
{
    fixture_t  *fixture = *state;

    static const char *const  argv[] = {
        "/usr/bin/printf", "<%s>", "", "a b", "$(id)", "'\"\\", "*", "-x",
        "a\nb", "\xc3\xa4", NULL
    };

    assert_int_equal(run(fixture, argv), 0);
    assert_string_equal(fixture->output.out.data,
                        "<><a b><$(id)><'\"\\><*><-x><a\nb><\xc3\xa4>");
}


static void
test_environment_is_what_was_given(void **state)
{
    fixture_t  *fixture = *state;

    static const char *const  argv[] = { "/usr/bin/env", NULL };
    static const char *const  envp[] = { "A=1", "B=two words", "C=", NULL };

    assert_int_equal(setenv("UNIT_SECRET", "secret", 1), 0);

    assert_int_equal(run_with(fixture, argv, envp, 10000), 0);
    assert_string_equal(fixture->output.out.data, "A=1\nB=two words\nC=\n");

    assert_int_equal(run(fixture, argv), 0);
    assert_string_equal(fixture->output.out.data, "");

    assert_int_equal(unsetenv("UNIT_SECRET"), 0);
}


static void
test_input_is_empty(void **state)
{
    fixture_t  *fixture = *state;

    static const char *const  cat[] = { "/bin/cat", NULL };
    static const char *const  link[] = {
        "/usr/bin/readlink", "/proc/self/fd/0", NULL
    };

    assert_int_equal(run(fixture, cat), 0);
    assert_string_equal(fixture->output.out.data, "");
    assert_int_equal(fixture->output.status, 0);

    assert_int_equal(run(fixture, link), 0);
    assert_string_equal(fixture->output.out.data, "/dev/null\n");
}


static void
test_directory_is_the_root(void **state)
{
    fixture_t  *fixture = *state;

    static const char *const  argv[] = {
        "/usr/bin/readlink", "/proc/self/cwd", NULL
    };

    assert_int_equal(run(fixture, argv), 0);
    assert_string_equal(fixture->output.out.data, "/\n");
}


static void
test_no_descriptor_of_the_caller_is_open(void **state)
{
    int         i;
    int         fds[100];
    fixture_t  *fixture = *state;

    static const char *const  argv[] = {
        "/bin/ls", "-1", "/proc/self/fd", NULL
    };

    /* as nginx's sockets: some with, some without close-on-exec */

    for (i = 0; i < 100; i++) {
        fds[i] = open("/dev/null", O_RDONLY | (i % 2 ? O_CLOEXEC : 0));
        assert_true(fds[i] != -1);
    }

    assert_int_equal(run(fixture, argv), 0);

    for (i = 0; i < 100; i++) {
        close(fds[i]);
    }

    /* the last one is the directory that ls itself reads */

    assert_string_equal(fixture->output.out.data, "0\n1\n2\n3\n");
}


static void
test_descriptors_of_the_caller_are_as_before(void **state)
{
    int         fd, again;
    fixture_t  *fixture = *state;

    static const char *const  missing[] = { "/nonexistent/az", NULL };

    fd = open("/dev/null", O_RDONLY|O_CLOEXEC);
    close(fd);

    assert_int_equal(run_script(fixture, "echo x", 10000), 0);
    assert_int_equal(run(fixture, missing), -1);
    assert_int_equal(run_script(fixture, "sleep MARKER", 50), -1);

    again = open("/dev/null", O_RDONLY|O_CLOEXEC);
    close(again);

    assert_int_equal(again, fd);
}


/* The set of signals in a line of /proc/PID/status is empty. */
static void
assert_no_signals(const char *status, const char *name)
{
    char         line[64];
    uint64_t     set;
    const char  *p;

    snprintf(line, sizeof(line), "\n%s:\t", name);

    p = strstr(status, line);
    assert_non_null(p);

    set = strtoull(p + strlen(line), NULL, 16) & ~C_LIBRARY_SIGNALS;

    if (set != 0) {
        fail_msg("%s is %llx", name, (unsigned long long) set);
    }
}


static void
test_signals_are_neither_blocked_nor_ignored(void **state)
{
    int               i, rc;
    sigset_t          all, before;
    fixture_t        *fixture = *state;
    struct sigaction  ignore, saved[SIGNALS + 1];

    static const char *const  argv[] = {
        "/bin/cat", "/proc/self/status", NULL
    };

    memset(&ignore, 0, sizeof(struct sigaction));
    ignore.sa_handler = SIG_IGN;

    for (i = 1; i <= SIGNALS; i++) {
        (void) sigaction(i, NULL, &saved[i]);
        (void) sigaction(i, &ignore, NULL);
    }

    sigfillset(&all);
    (void) sigprocmask(SIG_SETMASK, &all, &before);

    rc = run(fixture, argv);

    (void) sigprocmask(SIG_SETMASK, &before, NULL);

    for (i = 1; i <= SIGNALS; i++) {
        (void) sigaction(i, &saved[i], NULL);
    }

    assert_int_equal(rc, 0);
    assert_no_signals(fixture->output.out.data, "SigBlk");
    assert_no_signals(fixture->output.out.data, "SigIgn");
    assert_no_signals(fixture->output.out.data, "SigCgt");
    assert_no_signals(fixture->output.out.data, "SigPnd");
}


static void
test_mask_of_the_caller_is_as_before(void **state)
{
    int         i;
    sigset_t    some, after;
    fixture_t  *fixture = *state;

    sigemptyset(&some);
    sigaddset(&some, SIGUSR1);
    (void) sigprocmask(SIG_BLOCK, &some, NULL);

    assert_int_equal(run_script(fixture, "exit 0", 10000), 0);

    (void) sigprocmask(SIG_SETMASK, NULL, &after);

    for (i = 1; i <= SIGNALS; i++) {
        assert_int_equal(sigismember(&after, i) == 1, i == SIGUSR1);
    }

    (void) sigprocmask(SIG_UNBLOCK, &some, NULL);
}


static void
test_program_that_hangs_is_killed_with_its_group(void **state)
{
    int64_t     started_ms;
    fixture_t  *fixture = *state;

    started_ms = unit_real_ms();

    assert_int_equal(run_script(fixture, "(sleep MARKER & sleep MARKER) & "
                                "trap '' TERM INT HUP; sleep MARKER; :", 400),
                     -1);
    assert_string_equal(fixture->error.text, "/bin/sh did not end in time");

    assert_in_range(unit_real_ms() - started_ms, 390, 2000);
    assert_none_left(fixture);
    assert_no_child();
}


static void
test_end_of_the_call_is_a_deadline_too(void **state)
{
    int64_t     started_ms;
    fixture_t  *fixture = *state;

    started_ms = unit_real_ms();
    fixture->call.deadline_ms = unit_clock_monotonic_ms(&fixture->clock) + 300;

    assert_int_equal(run_script(fixture, "sleep MARKER", 10000), -1);
    assert_in_range(unit_real_ms() - started_ms, 290, 2000);
    assert_none_left(fixture);
}


static void
test_grandchild_that_holds_the_output_is_killed_not_waited_for(void **state)
{
    int64_t     started_ms;
    fixture_t  *fixture = *state;

    started_ms = unit_real_ms();

    assert_int_equal(run_script(fixture, "sleep MARKER & echo out; exit 7",
                                10000), 0);
    assert_string_equal(fixture->output.out.data, "out\n");
    assert_int_equal(fixture->output.status, 7);

    assert_true(unit_real_ms() - started_ms < 2000);
    assert_none_left(fixture);
    assert_no_child();
}


static void
test_last_words_are_read_to_their_end(void **state)
{
    int         i;
    fixture_t  *fixture = *state;

    /* a full pipe that the program leaves behind as it ends */

    for (i = 0; i < 20; i++) {
        assert_int_equal(run_script(fixture, "exec head -c 60000 /dev/zero",
                                    10000), 0);
        assert_int_equal(fixture->output.out.length, 60000);
    }
}


/* a thread that lost the processor meanwhile, so that the program has begun */
static int
cancelled_late(void *data)
{
    (void) data;

    unit_sleep_ms(100);

    return 1;
}


static void
test_program_is_killed_though_it_was_cancelled_at_once(void **state)
{
    fixture_t  *fixture = *state;

    fixture->hooks.cancelled = cancelled_late;

    assert_int_equal(run_script(fixture, "sleep MARKER", 10000), -1);
    assert_none_left(fixture);
    assert_no_child();
}


static void
test_program_is_killed_however_short_its_time_is(void **state)
{
    int         i;
    fixture_t  *fixture = *state;

    for (i = 0; i < 60; i++) {
        assert_int_equal(run_script(fixture, "sleep MARKER", i % 6), -1);
    }

    assert_none_left(fixture);
    assert_no_child();
}


static void
test_cancelled_program_is_killed(void **state)
{
    int64_t     started_ms;
    fixture_t  *fixture = *state;

    started_ms = unit_real_ms();
    fixture->clock.cancel_after_ms = started_ms - fixture->clock.started_ms
                                     + 300;

    assert_int_equal(run_script(fixture, "sleep MARKER; :", 10000), -1);
    assert_in_range(unit_real_ms() - started_ms, 290, 2000);
    assert_none_left(fixture);
    assert_no_child();
}


static void
test_output_has_a_limit(void **state)
{
    int64_t     started_ms;
    fixture_t  *fixture = *state;

    assert_int_equal(run_script(fixture, "head -c 65536 /dev/zero "
                                "| tr '\\0' x", 10000), 0);
    assert_int_equal(fixture->output.out.length, 65536);

    started_ms = unit_real_ms();

    assert_int_equal(run_script(fixture, "yes MARKER", 10000), -1);
    assert_string_equal(fixture->error.text,
                        "/bin/sh printed more than 65536 bytes");
    assert_true(fixture->output.out.length <= AAD_BODY_BYTES_MAX);
    assert_true(unit_real_ms() - started_ms < 3000);
    assert_none_left(fixture);
}


static void
test_long_complaints_are_cut_not_waited_for(void **state)
{
    fixture_t  *fixture = *state;

    assert_int_equal(run_script(fixture, "head -c 1000000 /dev/zero "
                                "| tr '\\0' x >&2; echo done; exit 3", 10000),
                     0);
    assert_string_equal(fixture->output.out.data, "done\n");
    assert_int_equal(fixture->output.status, 3);
    assert_true(fixture->output.err.length <= AAD_BODY_BYTES_MAX);
    assert_true(fixture->output.err.length >= AAD_BODY_BYTES_MAX / 2);
}


static void
test_endless_complaints_end_at_the_deadline(void **state)
{
    int64_t     started_ms;
    fixture_t  *fixture = *state;

    started_ms = unit_real_ms();

    assert_int_equal(run_script(fixture, "yes MARKER >&2", 400), -1);
    assert_true(unit_real_ms() - started_ms < 2000);
    assert_none_left(fixture);
}


static void
test_program_that_cannot_be_executed_is_named(void **state)
{
    size_t      i;
    fixture_t  *fixture = *state;

    static const struct {
        const char             *file;
        const char             *reason;
    } files[] = {
        { "/nonexistent/az", "cannot execute /nonexistent/az: No such file "
                             "or directory" },
        { "/",               "cannot execute /: Permission denied" },
        { "/proc/self/status/x", "cannot execute /proc/self/status/x: Not a "
                             "directory" }
    };

    for (i = 0; i < unit_count(files); i++) {
        const char  *argv[] = { files[i].file, NULL };

        assert_int_equal(run(fixture, argv), -1);
        assert_string_equal(fixture->error.text, files[i].reason);
    }

    assert_no_child();
}


static void
test_no_zombie_is_left(void **state)
{
    int         i;
    fixture_t  *fixture = *state;

    for (i = 0; i < 20; i++) {
        assert_int_equal(run_script(fixture, "exit 0", 10000), 0);
    }

    assert_no_child();
}


static void
test_grandchild_left_behind_does_not_become_the_callers(void **state)
{
    int         i, rc;
    pid_t       pid;
    fixture_t  *fixture = *state;

    /* as an nginx is that is the first process of its container */

    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);

    rc = run_script(fixture, "sleep 0.2 >&- 2>&- <&- & exit 0", 10000);

    pid = 0;

    for (i = 0; i < 60 && pid == 0; i++) {
        unit_sleep_ms(10);
        pid = waitpid(-1, NULL, WNOHANG);
    }

    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0), 0);

    assert_int_equal(rc, 0);
    assert_int_equal(pid, -1);
}


static void
test_program_that_left_its_group_does_not_hold_the_caller(void **state)
{
    int64_t     started_ms;
    fixture_t  *fixture = *state;

    started_ms = unit_real_ms();

    assert_int_equal(run_script(fixture, "setsid sleep 4 & sleep 0.3; exit 7",
                                10000), 0);
    assert_int_equal(fixture->output.status, 7);
    assert_true(unit_real_ms() - started_ms < 3000);
    assert_no_child();
}


static void
test_program_dies_with_its_caller(void **state)
{
    pid_t       pid;
    int64_t     end_ms;
    fixture_t  *fixture = *state;

    pid = fork();

    if (pid == 0) {
        (void) run_script(fixture, "sleep MARKER; :", 10000);
        _exit(0);
    }

    assert_true(pid > 0);

    /* the shell and its sleep */

    end_ms = unit_real_ms() + GONE_MS;

    while (processes_with(fixture->marker) < 2 && unit_real_ms() < end_ms) {
        unit_sleep_ms(10);
    }

    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_none_left(fixture);
}


static void
on_sigchld(int number)
{
    (void) number;

    children_signalled++;
}


/* an nginx worker's way with children: it takes whichever there is */
static void *
reap(void *stop)
{
    intptr_t  found;

    found = 0;

    while (!__atomic_load_n((int *) stop, __ATOMIC_RELAXED)) {
        found += waitpid(-1, NULL, WNOHANG) > 0;
        unit_sleep_ms(1);
    }

    return (void *) found;
}


static void
test_caller_that_reaps_all_never_sees_a_child(void **state)
{
    int                i, stop;
    void              *found;
    pthread_t          thread;
    fixture_t         *fixture = *state;
    struct sigaction   handler, saved;

    memset(&handler, 0, sizeof(struct sigaction));
    handler.sa_handler = on_sigchld;

    stop = 0;
    children_signalled = 0;

    (void) sigaction(SIGCHLD, &handler, &saved);
    assert_int_equal(pthread_create(&thread, NULL, reap, &stop), 0);

    for (i = 0; i < 10; i++) {
        assert_int_equal(run_script(fixture, "echo out; exit 5", 10000), 0);
        assert_string_equal(fixture->output.out.data, "out\n");
        assert_int_equal(fixture->output.status, 5);
    }

    assert_int_equal(run_script(fixture, "sleep MARKER", 100), -1);

    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    assert_int_equal(pthread_join(thread, &found), 0);
    (void) sigaction(SIGCHLD, &saved, NULL);

    assert_int_equal((intptr_t) found, 0);
    assert_int_equal(children_signalled, 0);
}


static void *
run_in_thread(void *data)
{
    int         i;
    fixture_t  *fixture = data;

    for (i = 0; i < 10; i++) {

        if (run_script(fixture, "echo MARKER; exit 9", 10000) != 0
            || fixture->output.status != 9
            || strncmp(fixture->output.out.data, fixture->marker,
                       strlen(fixture->marker)) != 0)
        {
            return (void *) 1;
        }
    }

    return NULL;
}


static void
test_threads_do_not_mix_their_programs(void **state)
{
    int          i;
    void        *others[4], *failed;
    pthread_t    threads[4];

    (void) state;

    for (i = 0; i < 4; i++) {
        (void) setup(&others[i]);
        assert_int_equal(pthread_create(&threads[i], NULL, run_in_thread,
                                        others[i]), 0);
    }

    for (i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        (void) teardown(&others[i]);
        assert_null(failed);
    }
}


#define test(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        test(test_output_and_exit_status_are_told),
        test(test_late_output_is_waited_for),
        test(test_end_is_waited_for_though_output_is_closed),
        test(test_arguments_are_passed_as_they_are),
        test(test_environment_is_what_was_given),
        test(test_input_is_empty),
        test(test_directory_is_the_root),
        test(test_no_descriptor_of_the_caller_is_open),
        test(test_descriptors_of_the_caller_are_as_before),
        test(test_signals_are_neither_blocked_nor_ignored),
        test(test_mask_of_the_caller_is_as_before),
        test(test_program_that_hangs_is_killed_with_its_group),
        test(test_end_of_the_call_is_a_deadline_too),
        test(test_grandchild_that_holds_the_output_is_killed_not_waited_for),
        test(test_last_words_are_read_to_their_end),
        test(test_program_is_killed_though_it_was_cancelled_at_once),
        test(test_program_is_killed_however_short_its_time_is),
        test(test_cancelled_program_is_killed),
        test(test_output_has_a_limit),
        test(test_long_complaints_are_cut_not_waited_for),
        test(test_endless_complaints_end_at_the_deadline),
        test(test_program_that_cannot_be_executed_is_named),
        test(test_no_zombie_is_left),
        test(test_grandchild_left_behind_does_not_become_the_callers),
        test(test_program_that_left_its_group_does_not_hold_the_caller),
        test(test_program_dies_with_its_caller),
        test(test_caller_that_reaps_all_never_sees_a_child),
        test(test_threads_do_not_mix_their_programs)
    };

    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
