/* msad: the service, or one of its roles. */
#include <errno.h>
#include <getopt.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "server/core/core.h"
#include "server/doctor/doctor.h"
#include "server/http/token.h"
#include "server/roles/roles.h"
#include "server/roles/sandbox.h"

static const char usage_text[] =
    "usage: msad [--config FILE] [--check-config | --print-config]\n"
    "       msad [--config FILE] doctor | status\n"
    "       msad token create|list|revoke ...\n"
    "\n"
    "Receives CT and MR series by DICOM C-STORE, segments what stored annotations point at,\n"
    "and sends DICOM-SEG to the configured destinations.\n"
    "\n"
    "  doctor           check settings, disk, ports and destinations, and send a phantom through a service "
    "of\n"
    "                   its own and back; what fails is told with its remedy. Exit status 0: all is well\n"
    "  status           ask the service that runs how it fares: queue, destinations, refusals, disk\n"
    "\n"
    "  --config FILE    settings (YAML); without it the built-in defaults\n"
    "  --check-config   read the settings, say what is wrong with them, and exit\n"
    "  --print-config   print the settings in force as a YAML file, and exit\n"
    "  --describe WHAT  print the reference of all settings, or the DICOM conformance statement: WHAT is\n"
    "                   settings or conformance; exit\n"
    "  --version        print the version, and exit\n"
    "  --help           print this, and exit\n"
    "\n"
    "A setting dicom.port is overridden by the environment variable MSAD_DICOM_PORT.\n";

typedef struct arguments {
    const char *config_path, *role, *command; /* command: "doctor", "status" or NULL */
    bool check, print;
    bool no_sandbox; /* of a role */
} arguments;

/* Returns -1 to go on, else the exit status. */
static int parse_arguments(int argc, char **argv, arguments *args)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check-config", no_argument, NULL, 'k'},
        {"print-config", no_argument, NULL, 'p'},
        {"describe", required_argument, NULL, 'd'},
        {"role", required_argument, NULL, 'r'},
        {"no-sandbox", no_argument, NULL, 'n'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        switch (c) {
        case 'c':
            args->config_path = optarg;
            break;
        case 'k':
            args->check = true;
            break;
        case 'p':
            args->print = true;
            break;
        case 'd':
            if (srv_describe(optarg, stdout)) return ferror(stdout) != 0;
            (void)fprintf(stderr, "msad: --describe takes settings or conformance\n");
            return EX_USAGE;
        case 'r':
            args->role = optarg;
            break;
        case 'n':
            args->no_sandbox = true;
            break;
        case 'V':
            return printf("msad %s\n", MSAD_VERSION) < 0;
        case 'h':
            return fputs(usage_text, stdout) < 0;
        default:
            (void)fputs(usage_text, stderr);
            return EX_USAGE;
        }
    }
    if (optind + 1 == argc && (strcmp(argv[optind], "doctor") == 0 || strcmp(argv[optind], "status") == 0))
        args->command = argv[optind++];
    if (optind < argc) {
        (void)fprintf(stderr, "msad: unexpected argument \"%s\"\n%s", argv[optind], usage_text);
        return EX_USAGE;
    }
    return -1;
}

static int run_role(const char *name)
{
    /* Whatever else the parent had open is none of a role's business. */
    const unsigned keep = strcmp(name, "receive") == 0 ? SRV_SOCK_FD : SRV_IPC_FD;
    (void)syscall(SYS_close_range, keep + 1, ~0U, 0);
    /* A terminal and a service manager may signal the whole group: only core decides what that means. */
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    if (strcmp(name, "receive") == 0) return srv_receive_main();
    if (strcmp(name, "work") == 0) return srv_work_main();
    if (strcmp(name, "send") == 0) return srv_send_main();
    (void)fprintf(stderr, "msad: unknown role \"%s\"\n", name);
    return EX_USAGE;
}

int main(int argc, char **argv)
{
    arguments args = {0};
    if (argc > 1 && strcmp(argv[1], "token") == 0) return srv_token_main(argc - 1, argv + 1);
    const int status = parse_arguments(argc, argv, &args);
    if (status >= 0) return status;
    if (args.no_sandbox) srv_sandbox_disable();
    if (args.role != NULL) return run_role(args.role);

    static srv_config config; /* 300 KiB and read-only from here on */
    msa_error err = MSA_ERROR_INIT;
    if (srv_config_load(&config, args.config_path, &err) != MSA_OK ||
        (!args.print && srv_config_check_files(&config, &err) != MSA_OK)) {
        (void)fprintf(stderr, "msad: %s\n", err.what);
        return EX_CONFIG;
    }
    if (args.print) {
        srv_config_print(&config, stdout);
        return ferror(stdout) != 0;
    }
    if (args.check) {
        (void)puts("the settings are good");
        return 0;
    }
    msa_log_level level = MSA_LOG_INFO;
    if (msa_log_level_parse(config.log_level, &level) == 0) msa_log_set_level(level);
    srv_config_settle(&config);
    /* OpenBLAS would start a thread per core in every process when it is loaded; the engine has its own pool.
     */
    (void)setenv("OPENBLAS_NUM_THREADS", "1", 1);
    if (args.command != NULL)
        return strcmp(args.command, "doctor") == 0 ? srv_doctor_run(&config, args.config_path)
                                                   : srv_status_run(&config);
    return srv_core_run(&config, args.config_path);
}
