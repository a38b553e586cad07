#include "dicom/seg/output.h"

#include <cerrno>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

namespace dicom
{
namespace seg
{

namespace
{

constexpr size_t BUFFER = 1u << 18;

} // namespace

struct output::deflater {
    z_stream z{};
    std::vector<Bytef> out = std::vector<Bytef>(BUFFER);
    bool ready;
    deflater() : ready(deflateInit2(&z, 6, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY) == Z_OK) {}
    ~deflater()
    {
        (void)deflateEnd(&z);
    }
    deflater(const deflater &) = delete;
    deflater &operator=(const deflater &) = delete;
};

output::output(const char *path)
    : fd_(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640))
{
    if (fd_ < 0) error_ = errno;
    buffer_.reserve(BUFFER);
}

output::~output()
{
    if (fd_ >= 0) (void)::close(fd_);
}

void output::deflate()
{
    deflater_ = std::make_unique<deflater>();
    if (!deflater_->ready && !error_) error_ = ENOMEM;
}

void output::flush()
{
    const char *at = buffer_.data();
    for (size_t left = buffer_.size(); left > 0 && !error_;) {
        const ssize_t n = ::write(fd_, at, left);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            error_ = errno;
            break;
        }
        at += n;
        left -= static_cast<size_t>(n);
    }
    size_ += buffer_.size();
    buffer_.clear();
}

void output::put(const void *data, size_t size)
{
    if (buffer_.size() + size > BUFFER) flush();
    buffer_.append(static_cast<const char *>(data), size);
    if (buffer_.size() >= BUFFER) flush();
}

void output::write(const void *data, size_t size)
{
    if (error_ || size == 0) return;
    if (!deflater_) return put(data, size);
    z_stream &z = deflater_->z;
    z.next_in = static_cast<Bytef *>(const_cast<void *>(data));
    z.avail_in = static_cast<uInt>(size); /* pieces are far below 4 GB */
    while (z.avail_in > 0) {
        z.next_out = deflater_->out.data();
        z.avail_out = static_cast<uInt>(deflater_->out.size());
        (void)::deflate(&z, Z_NO_FLUSH);
        put(deflater_->out.data(), deflater_->out.size() - z.avail_out);
    }
}

msa_status output::finish(msa_error *err)
{
    for (int rc = Z_OK; deflater_ && rc == Z_OK && !error_;) {
        deflater_->z.next_out = deflater_->out.data();
        deflater_->z.avail_out = static_cast<uInt>(deflater_->out.size());
        rc = ::deflate(&deflater_->z, Z_FINISH);
        put(deflater_->out.data(), deflater_->out.size() - deflater_->z.avail_out);
    }
    if (!error_) flush();
    if (deflater_ && size_ % 2 != 0 && !error_) { /* PS3.5 A.5: padded to even length with a null byte */
        buffer_.assign(1, '\0');
        flush();
    }
    if (error_)
        return msa_fail(err, msa_errno_status(error_), "cannot write the segmentation: %s",
                        std::strerror(error_));
    const bool synced = fsync(fd_) == 0;
    error_ = synced ? 0 : errno;
    if (::close(fd_) != 0 && !error_) error_ = errno;
    fd_ = -1;
    if (error_)
        return msa_fail(err, msa_errno_status(error_), "cannot make the segmentation durable: %s",
                        std::strerror(error_));
    return MSA_OK;
}

void encode::number16(std::string &to, uint16_t value)
{
    const char bytes[2] = {static_cast<char>(value), static_cast<char>(value >> 8)};
    to.append(bytes, sizeof bytes);
}

void encode::number32(std::string &to, uint32_t value)
{
    number16(to, static_cast<uint16_t>(value));
    number16(to, static_cast<uint16_t>(value >> 16));
}

static void tag_and_vr(std::string &to, uint32_t tag, const char *vr)
{
    encode::number16(to, static_cast<uint16_t>(tag >> 16));
    encode::number16(to, static_cast<uint16_t>(tag));
    to.append(vr, 2);
}

void encode::head(std::string &to, uint32_t tag, const char *vr, size_t length)
{
    tag_and_vr(to, tag, vr);
    number16(to, static_cast<uint16_t>(length));
}

void encode::long_head(std::string &to, uint32_t tag, const char *vr, uint32_t length)
{
    tag_and_vr(to, tag, vr);
    number16(to, 0);
    number32(to, length);
}

void encode::item_head(std::string &to, uint32_t length)
{
    number16(to, 0xfffe);
    number16(to, 0xe000);
    number32(to, length);
}

void encode::text(std::string &to, uint32_t tag, const char *vr, const std::string &value)
{
    const bool odd = value.size() % 2 != 0;
    head(to, tag, vr, value.size() + odd);
    to += value;
    if (odd) to += std::strncmp(vr, "UI", 2) == 0 ? '\0' : ' ';
}

void encode::us(std::string &to, uint32_t tag, uint16_t value)
{
    head(to, tag, "US", 2);
    number16(to, value);
}

void encode::sequence(std::string &to, uint32_t tag, const std::string &item)
{
    long_head(to, tag, "SQ", static_cast<uint32_t>(item.size() + 8));
    item_head(to, static_cast<uint32_t>(item.size()));
    to += item;
}

} // namespace seg
} // namespace dicom
