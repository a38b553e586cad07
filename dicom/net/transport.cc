#include "dicom/net/transport.h"

#include "dcmtk/dcmnet/cond.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <climits>
#include <ctime>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace dicom
{

int64_t now_ms()
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return int64_t(t.tv_sec) * 1000 + t.tv_nsec / 1000000;
}

static void set_option(int fd, int level, int name, int value)
{
    /* Each of them only makes things faster or notices a dead peer sooner; a socket pair in a test has none.
     */
    (void)setsockopt(fd, level, name, &value, sizeof value);
}

void net_link::attach(int socket_fd)
{
    fd = socket_fd;
    was_attached = true;
    /* A stock sender leaves Nagle's algorithm on: it waits for our acknowledgement before its last, short
     * segment, and a delayed acknowledgement makes that 40 ms an object. So ours must come at once, on both
     * sides. */
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 60000);
}

void net_link::begin_message(int64_t ms, int64_t max_bytes)
{
    phase_deadline = now_ms() + ms;
    budget = max_bytes;
    idle = INT64_MAX;
    window = 0;
}

void net_link::begin_object(int64_t idle_ms, int64_t window_ms, int64_t min_bytes)
{
    phase_deadline = INT64_MAX;
    budget = INT64_MAX;
    idle = idle_ms;
    window = window_ms;
    window_min = min_bytes;
    window_waited = window_bytes = 0;
}

void net_link::set_prefix(std::vector<unsigned char> bytes)
{
    prefix = std::move(bytes);
    prefix_at = 0;
}

void net_link::wind_up(int64_t ms)
{
    winding_up = true;
    begin_message(ms, 1 << 20);
    deadline = phase_deadline;
}

/**
 * A close with unread bytes in the socket becomes a reset, which can overtake the refusal or the response
 * that we just wrote. So: say that we are done, and read for a short time what still comes.
 */
void net_link::close()
{
    if (fd < 0) return;
    if (ssl != nullptr) {
        if (SSL_is_init_finished(ssl)) (void)SSL_shutdown(ssl); /* a TLS alert: nothing was cut off */
        SSL_free(ssl);
        ssl = nullptr;
        ERR_clear_error();
    }
    const link_end before = ended; /* what comes now is no news */
    if (!winding_up) wind_up(1000);
    if (::shutdown(fd, SHUT_WR) == 0) {
        char waste[4096];
        while (read(waste, sizeof waste) > 0) {
        }
    }
    (void)::close(fd);
    fd = -1;
    ended = before;
}

int64_t net_link::time_left(int64_t now) const
{
    int64_t left = std::min(deadline, phase_deadline) - now;
    left = std::min(left, idle);
    if (window > 0) left = std::min(left, window - window_waited);
    return std::max<int64_t>(left, 0);
}

/* Only time spent waiting for the peer counts: our own slow disk is not the sender's fault. */
void net_link::account_wait(int64_t waited_ms)
{
    if (window <= 0) return;
    window_waited += waited_ms;
    if (window_waited < window) return;
    if (window_bytes < window_min && ended == link_end::open) ended = link_end::too_slow;
    window_waited = window_bytes = 0;
}

bool net_link::wait(short events, int64_t limit_ms)
{
    const int64_t start = now_ms();
    for (;;) {
        const int64_t now = now_ms();
        const int64_t ours = time_left(start) - (now - start), theirs = limit_ms - (now - start);
        struct pollfd p = {fd, events, 0};
        const int64_t ms = std::max<int64_t>(std::min<int64_t>(std::min(ours, theirs), 3600000), 0);
        const int n = ::poll(&p, 1, int(ms));
        if (n < 0 && errno == EINTR) continue;
        if (n != 0) {
            account_wait(now_ms() - start);
            return n > 0;
        }
        const int64_t waited = now_ms() - start;
        if (waited >= time_left(start)) {
            account_wait(waited);
            if (ended == link_end::open) ended = link_end::timed_out;
            return false;
        }
        if (waited >= limit_ms) {
            account_wait(waited);
            return false;
        }
    }
}

bool net_link::readable(int64_t limit_ms)
{
    if (prefix_at < prefix.size() || (ssl != nullptr && SSL_has_pending(ssl))) return true;
    if (ended != link_end::open && !winding_up) return false;
    return wait(POLLIN, limit_ms);
}

bool net_link::start_tls(const dicom_tls_context &context)
{
    serves = context.server;
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        (ssl = tls_new(context, fd)) == nullptr) {
        failure = "TLS could not be begun";
        ended = link_end::insecure;
        return false;
    }
    for (;;) {
        short wanted = 0;
        ERR_clear_error();
        const long n = tls_outcome(SSL_do_handshake(ssl), wanted);
        if (n > 0) return true;
        if (n < 0 && wait(wanted, INT64_MAX)) continue;
        if (ended == link_end::open) ended = failure.empty() ? link_end::closed : link_end::insecure;
        return false;
    }
}

std::string net_link::tls_version() const
{
    return ssl != nullptr ? SSL_get_version(ssl) : "";
}

std::string net_link::peer_fingerprint() const
{
    return ssl != nullptr ? tls_fingerprint(ssl) : "";
}

std::string net_link::peer_subject() const
{
    return ssl != nullptr ? tls_subject(ssl) : "";
}

/* What a call of OpenSSL came to: bytes, 0 at the end, -1 when the socket must first be `wanted`. */
long net_link::tls_outcome(int n, short &wanted)
{
    if (n > 0) return n;
    const int error = SSL_get_error(ssl, n);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        wanted = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
        return -1;
    }
    const std::string problem = error == SSL_ERROR_SSL ? tls_problem(ssl, serves) : "";
    if (failure.empty()) failure = problem;
    return 0;
}

/* One attempt without waiting: as tls_outcome(). */
long net_link::receive_now(void *buffer, size_t size, short &wanted)
{
    if (ssl != nullptr) {
        ERR_clear_error();
        return tls_outcome(SSL_read(ssl, buffer, int(std::min<size_t>(size, INT_MAX))), wanted);
    }
    ssize_t n;
    do
        n = ::recv(fd, buffer, size, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    wanted = POLLIN;
    if (n >= 0) return long(n);
    return errno == EAGAIN || errno == EWOULDBLOCK ? -1 : 0;
}

long net_link::send_now(const void *buffer, size_t size, short &wanted)
{
    if (ssl != nullptr) {
        ERR_clear_error();
        return tls_outcome(SSL_write(ssl, buffer, int(std::min<size_t>(size, INT_MAX))), wanted);
    }
    ssize_t n;
    do
        n = ::send(fd, buffer, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    wanted = POLLOUT;
    if (n >= 0) return long(n);
    return errno == EAGAIN || errno == EWOULDBLOCK ? -1 : 0;
}

long net_link::read(void *buffer, size_t size)
{
    if (prefix_at < prefix.size()) {
        const size_t n = std::min(size, prefix.size() - prefix_at);
        std::memcpy(buffer, prefix.data() + prefix_at, n);
        prefix_at += n;
        return long(n);
    }
    if (ended != link_end::open && !winding_up) return 0;
    if (budget <= 0) {
        if (ended == link_end::open) ended = link_end::too_much;
        return 0;
    }
    size = size_t(std::min<int64_t>(int64_t(size), budget));
    for (;;) {
        short wanted = 0;
        const long n = receive_now(buffer, size, wanted);
        if (n > 0) {
            budget -= n;
            window_bytes += n;
            set_option(fd, IPPROTO_TCP, TCP_QUICKACK, 1); /* the kernel forgets it */
            return n;
        }
        if (n < 0 && wait(wanted, INT64_MAX)) continue;
        if (n < 0) return 0;
        if (ended == link_end::open) ended = link_end::closed;
        return 0;
    }
}

bool net_link::read_all(void *buffer, size_t size)
{
    size_t got = 0;
    while (got < size) {
        const long n = read(static_cast<char *>(buffer) + got, size - got);
        if (n <= 0) return false;
        got += size_t(n);
    }
    return true;
}

long net_link::write(const void *buffer, size_t size)
{
    size_t done = 0;
    while (done < size) {
        short wanted = 0;
        const long n = send_now(static_cast<const char *>(buffer) + done, size - done, wanted);
        if (n > 0) {
            done += size_t(n);
            window_bytes += n;
            continue;
        }
        if (n < 0 && wait(wanted, INT64_MAX)) continue;
        if (ended == link_end::open) ended = link_end::closed;
        return -1;
    }
    return long(size);
}

net_connection::net_connection(DcmNativeSocketType socket, net_link &l, const dicom_tls_context *t)
    : DcmTransportConnection(socket), link(l), tls(t)
{
    link.attach(socket);
}

net_connection::~net_connection()
{
    link.close();
}

OFCondition net_connection::serverSideHandshake()
{
    return EC_Normal;
}

OFCondition net_connection::clientSideHandshake()
{
    return tls == nullptr || link.start_tls(*tls)
               ? EC_Normal
               : makeDcmnetCondition(DULC_TLSERROR, OF_error, "TLS failed");
}

OFCondition net_connection::renegotiate(const char *)
{
    return EC_Normal;
}

ssize_t net_connection::read(void *buffer, size_t size)
{
    return link.read(buffer, size);
}

ssize_t net_connection::write(void *buffer, size_t size)
{
    return link.write(buffer, size);
}

void net_connection::close()
{
    link.close();
}

void net_connection::closeTransportConnection()
{
    link.close();
}

unsigned long net_connection::getPeerCertificateLength()
{
    return 0;
}

unsigned long net_connection::getPeerCertificate(void *, unsigned long)
{
    return 0;
}

OFBool net_connection::networkDataAvailable(int timeout_s)
{
    return link.readable(int64_t(timeout_s) * 1000);
}

OFBool net_connection::isTransparentConnection()
{
    /* "Not transparent" keeps DCMTK from selecting on the socket behind our back. */
    return OFFalse;
}

OFString &net_connection::dumpConnectionParameters(OFString &text)
{
    text = "TCP with deadlines";
    return text;
}

DcmTransportConnection *net_layer::createConnection(DcmNativeSocketType socket, OFBool secure)
{
    return secure ? nullptr : new net_connection(socket, link, tls);
}

} // namespace dicom
