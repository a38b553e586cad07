#include "dicom/read/source.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

namespace dicom
{
namespace
{

class FileSource final : public Source
{
  public:
    FileSource(int fd, uint64_t size) : fd_(fd), size_(size) {}
    ~FileSource() override
    {
        (void)::close(fd_);
    }
    FileSource(const FileSource &) = delete;
    FileSource &operator=(const FileSource &) = delete;

    size_t read(void *to, size_t n) override
    {
        size_t done = 0;
        while (done < n) {
            if (at_ < start_ || at_ >= start_ + held_) {
                if (!fill()) break;
            }
            const size_t part = std::min<size_t>(n - done, size_t(start_ + held_ - at_));
            std::memcpy(static_cast<char *>(to) + done, buffer_.data() + (at_ - start_), part);
            at_ += part;
            done += part;
        }
        return done;
    }
    bool skip(uint64_t n) override
    {
        if (n > size_ - at_) return false;
        at_ += n;
        return true;
    }
    uint64_t offset() const override
    {
        return at_;
    }
    uint64_t end() const override
    {
        return size_;
    }
    bool failed() const override
    {
        return failed_;
    }

  private:
    bool fill()
    {
        if (at_ >= size_) return false;
        ssize_t got;
        do
            got = ::pread(fd_, buffer_.data(), buffer_.size(), off_t(at_));
        while (got < 0 && errno == EINTR);
        failed_ = got < 0;
        if (got <= 0) return false; /* 0: the file shrank meanwhile; reads as truncated */
        start_ = at_;
        held_ = uint64_t(got);
        return true;
    }

    int fd_;
    uint64_t size_, at_ = 0, start_ = 0, held_ = 0;
    bool failed_ = false;
    std::array<char, 16384> buffer_;
};

class InflateSource final : public Source
{
  public:
    InflateSource(Source &inner, uint64_t limit) : inner_(inner), limit_(limit)
    {
        failed_ = inflateInit2(&z_, -MAX_WBITS) != Z_OK;
    }
    ~InflateSource() override
    {
        (void)inflateEnd(&z_);
    }
    InflateSource(const InflateSource &) = delete;
    InflateSource &operator=(const InflateSource &) = delete;

    size_t read(void *to, size_t n) override
    {
        size_t done = 0;
        while (done < n && !failed_ && !ended_) {
            if (z_.avail_in == 0) {
                z_.avail_in = uInt(inner_.read(in_.data(), in_.size()));
                z_.next_in = in_.data();
                if (z_.avail_in == 0) break; /* truncated */
            }
            const size_t part = std::min<size_t>(n - done, 1u << 20);
            z_.next_out = static_cast<Bytef *>(to) + done;
            z_.avail_out = uInt(part);
            const int rc = ::inflate(&z_, Z_NO_FLUSH);
            done += part - z_.avail_out;
            ended_ = rc == Z_STREAM_END;
            failed_ = failed_ || (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR);
        }
        at_ += done;
        if (at_ > limit_) failed_ = true; /* a bomb, or an object beyond what we take */
        return failed_ ? 0 : done;
    }
    bool skip(uint64_t n) override
    {
        std::array<char, 16384> waste;
        while (n > 0) {
            const size_t part = size_t(std::min<uint64_t>(n, waste.size()));
            if (read(waste.data(), part) != part) return false;
            n -= part;
        }
        return true;
    }
    uint64_t offset() const override
    {
        return at_;
    }
    uint64_t end() const override
    {
        return limit_;
    }
    bool failed() const override
    {
        return failed_ || inner_.failed();
    }

  private:
    Source &inner_;
    uint64_t limit_, at_ = 0;
    bool failed_ = false, ended_ = false;
    z_stream z_{};
    std::array<Bytef, 16384> in_;
};

} // namespace

std::unique_ptr<Source> open_file_source(const char *path)
{
    /* O_NONBLOCK: a FIFO in a folder must not hang us; it is refused below. */
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return nullptr;
    struct stat st {
    };
    if (::fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        const int why = S_ISREG(st.st_mode) ? errno : EINVAL;
        (void)::close(fd);
        errno = why;
        return nullptr;
    }
    return std::make_unique<FileSource>(fd, uint64_t(st.st_size));
}

std::unique_ptr<Source> open_inflate_source(Source &inner, uint64_t limit)
{
    return std::make_unique<InflateSource>(inner, limit);
}

} // namespace dicom
