/* Private: bytes of a file under construction, plain or deflated, and elements as they lie in it. */
#ifndef DICOM_SEG_OUTPUT_H
#define DICOM_SEG_OUTPUT_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "engine/base/error.h"

namespace dicom
{
namespace seg
{

/**
 * A new file, written through a buffer by our own write(2) calls: DCMTK's file stream does not say when
 * closing failed. The first failure is kept, so a caller may write on and ask at the end. What is written
 * after deflate() comes out as one raw deflate stream (PS3.5 annex A.5).
 */
class output
{
  public:
    explicit output(const char *path); /* new or emptied */
    ~output();
    output(const output &) = delete;
    output &operator=(const output &) = delete;

    void deflate();
    void write(const void *data, size_t size);
    void write(const std::string &bytes)
    {
        write(bytes.data(), bytes.size());
    }
    bool good() const
    {
        return error_ == 0;
    }
    /* Everything written, synced and closed; else the first failure in a sentence. */
    msa_status finish(msa_error *err);

  private:
    struct deflater;
    int fd_ = -1, error_ = 0; /* an errno */
    uint64_t size_ = 0;       /* of the file; even with padding, as DICOM wants a dataset's bytes */
    std::string buffer_;
    std::unique_ptr<deflater> deflater_;

    void put(const void *data, size_t size);
    void flush();
};

/* Explicit VR little endian (PS3.5 section 7.1.2), values padded to even length. Tags are 0xGGGGEEEE. */
namespace encode
{
void number16(std::string &to, uint16_t value);
void number32(std::string &to, uint32_t value);
/* vr: one with a length of 16 bit, which is all of them but OB, OW, SQ and their like. */
void head(std::string &to, uint32_t tag, const char *vr, size_t length);
/* OB, OW, SQ, UN, UT; length 0xffffffff: undefined. */
void long_head(std::string &to, uint32_t tag, const char *vr, uint32_t length);
void item_head(std::string &to, uint32_t length);
void text(std::string &to, uint32_t tag, const char *vr, const std::string &value);
void us(std::string &to, uint32_t tag, uint16_t value);
/* A sequence of one item. */
void sequence(std::string &to, uint32_t tag, const std::string &item);
} // namespace encode

} // namespace seg
} // namespace dicom
#endif
