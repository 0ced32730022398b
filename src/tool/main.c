
/*
 * Copyright (C) the ngx_http_aoai_aad_module authors
 *
 * aoai-aad: why is there no token?  Runs the module's chain outside nginx.
 */


#include "tool.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>


static int tool_run(char **argv);
static int tool_flush(int status);


static const char  tool_usage[] =
    "Usage: aoai-aad COMMAND [OPTION]...\n"
    "\n"
    "Asks for Microsoft Entra ID tokens as ngx_http_aoai_aad_module does, and\n"
    "says how it went.  Nothing that is printed is secret, unless the token\n"
    "itself is asked for.\n"
    "\n"
    "  token       by the credentials that are named, else the default ones\n"
    "  check FILE  by those of an nginx configuration\n"
    "\n"
    "  --version   the version\n"
    "  --help      this text; aoai-aad COMMAND --help: that of a command\n"
    "\n"
    "Exit status: 0 with a token, 1 without, 2 for wrong usage.\n";


int
main(int argc, char **argv)
{
    int  fd;

    (void) argc;

    /* what reads the output may go, and a program that is run needs 0 to 2 */

    (void) signal(SIGPIPE, SIG_IGN);

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd != -1 && fd <= 2);

    (void) close(fd);

    return tool_flush(tool_run(argv + (argv[0] != NULL)));
}


static int
tool_run(char **argv)
{
    if (argv[0] == NULL) {
        fprintf(stderr, "%s", tool_usage);
        return TOOL_WRONG_USAGE;
    }

    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
        printf("%s", tool_usage);
        return TOOL_OK;
    }

    if (strcmp(argv[0], "--version") == 0) {
        printf("aoai-aad %s\n", AAD_VERSION);
        return TOOL_OK;
    }

    if (aad_global_init() != 0) {
        fprintf(stderr, "aoai-aad: libcurl cannot be used\n");
        return TOOL_NO_TOKEN;
    }

    if (strcmp(argv[0], "token") == 0) {
        return tool_token(argv + 1);
    }

    if (strcmp(argv[0], "check") == 0) {
        return tool_check(argv + 1);
    }

    fprintf(stderr, "aoai-aad: the command must be one of: token check "
            "--version --help\n");

    return TOOL_WRONG_USAGE;
}


/* a report that did not arrive is none */
static int
tool_flush(int status)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "aoai-aad: cannot write to standard output\n");
        return TOOL_NO_TOKEN;
    }

    return status;
}
