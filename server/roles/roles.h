/* The disposable processes: entry points that main() calls in a re-executed msad. Each returns the exit
 * status. */
#ifndef SRV_ROLES_ROLES_H
#define SRV_ROLES_ROLES_H

int srv_receive_main(void); /* one association, on SRV_SOCK_FD */
int srv_work_main(void);    /* parse, decode, segment, write */
int srv_send_main(void);    /* one delivery */

#endif
