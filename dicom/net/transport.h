/**
 * Private: the socket under DCMTK's upper layer. DCMTK 3.6.7 reads the body of a PDU without any time limit
 * and sets no TCP_NODELAY, so every byte of an association goes through this class, which knows the deadlines
 * (invariant 5).
 */
#ifndef DICOM_NET_TRANSPORT_H
#define DICOM_NET_TRANSPORT_H

#include "dcmtk/config/osconfig.h"
#include "dcmtk/dcmnet/dcmlayer.h"
#include "dcmtk/dcmnet/dcmtrans.h"

#include <cstdint>
#include <string>
#include <vector>

#include "dicom/net/tls.h"

namespace dicom
{

int64_t now_ms(); /* monotonic */

/* Why a link stopped giving bytes. */
enum class link_end { open, closed, timed_out, too_slow, too_much, insecure };

/**
 * One socket with its limits. Outlives the connection object, which DCMTK owns and deletes. Not thread-safe.
 * Time limits are absolute, on now_ms()'s clock; the earliest one counts.
 */
class net_link
{
  public:
    explicit net_link(int64_t deadline_ms) : deadline(deadline_ms) {}

    void attach(int socket_fd); /* takes the socket over */
    /**
     * TLS from here on: the whole handshake, under the limits of begin_message(). `context` outlives the
     * link. false: see end() (`insecure`: TLS itself failed) and tls_failure().
     */
    bool start_tls(const dicom_tls_context &context);
    /* Why TLS failed, or what the peer alerted us of: a sentence about "the peer"; "" when nothing did. */
    const std::string &tls_failure() const
    {
        return failure;
    }
    /* "TLSv1.3", ... and the peer's certificate (dicom/net/tls.h); "" without TLS. */
    std::string tls_version() const;
    std::string peer_fingerprint() const;
    std::string peer_subject() const;

    /* A message (or an A-ASSOCIATE PDU) must be whole by `ms` and not longer than `max_bytes`. */
    void begin_message(int64_t ms, int64_t max_bytes);
    /* A dataset: no pause longer than idle_ms, and at least min_bytes in every window_ms spent waiting for
     * the peer. */
    void begin_object(int64_t idle_ms, int64_t window_ms, int64_t min_bytes);
    /* Bytes that were read before DCMTK saw the socket. */
    void set_prefix(std::vector<unsigned char> bytes);
    /* The end is near: keeps what happened in end(), allows `ms` more for an abort or a release. */
    void wind_up(int64_t ms);
    void close();

    long read(void *buffer, size_t size);        /* bytes, or 0: see end() */
    bool read_all(void *buffer, size_t size);    /* exactly size bytes, or false: see end() */
    long write(const void *buffer, size_t size); /* size, or -1 */
    bool wait(short events, int64_t limit_ms);   /* false: time is up or the link is dead */
    bool readable(int64_t limit_ms);
    bool connected() const
    {
        return was_attached;
    } /* ever */
    link_end end() const
    {
        return ended;
    }

  private:
    long receive_now(void *buffer, size_t size, short &wanted);
    long send_now(const void *buffer, size_t size, short &wanted);
    long tls_outcome(int n, short &wanted);
    int64_t time_left(int64_t now) const;
    void account_wait(int64_t waited_ms);

    int fd = -1;
    SSL *ssl = nullptr; /* freed by close() */
    bool serves = false;
    std::string failure;
    bool was_attached = false;
    link_end ended = link_end::open;
    bool winding_up = false;
    int64_t deadline;                   /* of everything */
    int64_t phase_deadline = INT64_MAX; /* of the message at hand */
    int64_t budget = INT64_MAX;         /* bytes that may still be read in this phase */
    int64_t idle = INT64_MAX;           /* longest pause */
    int64_t window = 0, window_waited = 0, window_bytes = 0, window_min = 0; /* window 0: no minimum rate */
    std::vector<unsigned char> prefix;
    size_t prefix_at = 0;
};

/* What DCMTK sees of a net_link. */
class net_connection : public DcmTransportConnection
{
  public:
    /* tls: to be started when DCMTK has connected; NULL: none, or it has been. */
    net_connection(DcmNativeSocketType socket, net_link &l, const dicom_tls_context *tls);
    ~net_connection() override;
    OFCondition serverSideHandshake() override;
    OFCondition clientSideHandshake() override;
    OFCondition renegotiate(const char *) override;
    ssize_t read(void *buffer, size_t size) override;
    ssize_t write(void *buffer, size_t size) override;
    void close() override;
    void closeTransportConnection() override;
    unsigned long getPeerCertificateLength() override;
    unsigned long getPeerCertificate(void *buffer, unsigned long size) override;
    OFBool networkDataAvailable(int timeout_s) override;
    OFBool isTransparentConnection() override;
    OFString &dumpConnectionParameters(OFString &text) override;

  private:
    net_link &link;
    const dicom_tls_context *tls;
};

/* Makes a net_connection of the socket that DCMTK accepted or connected. */
class net_layer : public DcmTransportLayer
{
  public:
    explicit net_layer(net_link &l) : link(l) {}
    DcmTransportConnection *createConnection(DcmNativeSocketType socket, OFBool secure) override;
    const dicom_tls_context *tls = nullptr; /* of connections that we open */

  private:
    net_link &link;
};

} // namespace dicom
#endif
