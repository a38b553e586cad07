#include "dicom/net/associate_rq.h"

namespace dicom
{

namespace
{

constexpr size_t HEAD = 6, FIXED = 74; /* PDU head; head, version, titles and reserved bytes */

size_t be16(const unsigned char *p)
{
    return size_t(p[0]) << 8 | p[1];
}

/* Walks items of the form type, reserved, 16-bit length, and calls visit(type, body, size) for each. */
template <typename Visit> msa_status walk(const unsigned char *p, size_t left, msa_error *err, Visit &&visit)
{
    while (left > 0) {
        if (left < 4 || be16(p + 2) > left - 4)
            return msa_fail(err, MSA_E_PARSE,
                            "the association request has an item that is longer than its container");
        const size_t size = be16(p + 2);
        MSA_TRY(visit(p[0], p + 4, size));
        p += 4 + size;
        left -= 4 + size;
    }
    return MSA_OK;
}

msa_status once(bool &seen, const char *name, msa_error *err)
{
    if (seen) return msa_fail(err, MSA_E_PARSE, "the association request has two %s items", name);
    seen = true;
    return MSA_OK;
}

msa_status check_user_information(const unsigned char *p, size_t size, msa_error *err)
{
    bool max_length = false, class_uid = false, window = false, version = false, identity = false;
    return walk(p, size, err, [&](unsigned type, const unsigned char *, size_t) -> msa_status {
        switch (type) {
        case 0x51:
            return once(max_length, "maximum length", err);
        case 0x52:
            return once(class_uid, "implementation class", err);
        case 0x53:
            return once(window, "asynchronous operations", err);
        case 0x55:
            return once(version, "implementation version", err);
        case 0x58:
            return once(identity, "user identity", err);
        default:
            return MSA_OK;
        }
    });
}

struct contexts {
    int count = 0;
    bool used[256] = {};
};

msa_status check_context(contexts &seen, const unsigned char *p, size_t size, msa_error *err)
{
    if (size < 4)
        return msa_fail(err, MSA_E_PARSE, "the association request has a presentation context without an id");
    if (++seen.count > CONTEXTS_MAX)
        return msa_fail(err, MSA_E_PARSE, "the association request has more than %d presentation contexts",
                        CONTEXTS_MAX);
    if (p[0] % 2 == 0 || seen.used[p[0]])
        return msa_fail(err, MSA_E_PARSE, "presentation context id %u is even or used twice", p[0]);
    seen.used[p[0]] = true;
    bool abstract = false;
    return walk(p + 4, size - 4, err, [&](unsigned type, const unsigned char *, size_t) -> msa_status {
        return type == 0x30 ? once(abstract, "abstract syntax", err) : MSA_OK;
    });
}

} // namespace

msa_status associate_rq_check(const unsigned char *pdu, size_t size, msa_error *err)
{
    if (size < FIXED || size > ASSOCIATE_RQ_MAX)
        return msa_fail(err, MSA_E_PARSE, "the association request is cut");
    contexts seen;
    bool application = false, user = false;
    const auto visit = [&](unsigned type, const unsigned char *p, size_t n) -> msa_status {
        if (type == 0x10) return once(application, "application context", err);
        if (type == 0x20) return check_context(seen, p, n, err);
        if (type != 0x50) return MSA_OK;
        if (once(user, "user information", err) != MSA_OK) return MSA_E_PARSE;
        return check_user_information(p, n, err);
    };
    MSA_TRY(walk(pdu + FIXED, size - FIXED, err, visit));
    if (!application || !user)
        return msa_fail(err, MSA_E_PARSE, "the association request lacks a mandatory item");
    return MSA_OK;
}

msa_status associate_rq_read(net_link &link, std::vector<unsigned char> &pdu, msa_error *err)
{
    pdu.resize(HEAD);
    bool whole = link.read_all(pdu.data(), HEAD);
    if (whole) {
        const size_t size = be16(&pdu[2]) << 16 | be16(&pdu[4]);
        if (pdu[0] != 0x01)
            return msa_fail(err, MSA_E_PARSE,
                            "the connection began with something else than an association request");
        if (size > ASSOCIATE_RQ_MAX - HEAD)
            return msa_fail(err, MSA_E_PARSE, "the association request has %zu bytes; at most %zu are taken",
                            size, ASSOCIATE_RQ_MAX - HEAD);
        pdu.resize(HEAD + size);
        whole = link.read_all(pdu.data() + HEAD, size);
    }
    if (!whole)
        return msa_fail(err, MSA_E_IO,
                        link.end() == link_end::closed
                            ? "the connection closed before an association was requested"
                            : "no whole association request came in time");
    return associate_rq_check(pdu.data(), pdu.size(), err);
}

} // namespace dicom
