/* The disposable processes: entry points that main() calls in a re-executed msad. Each returns the exit status. */
#ifndef SRV_ROLES_ROLES_H
#define SRV_ROLES_ROLES_H

int srv_role_receive(void); /* one association, on SRV_SOCK_FD */
int srv_role_work(void);    /* parse, decode, segment, write */
int srv_role_send(void);    /* one delivery */

#endif
