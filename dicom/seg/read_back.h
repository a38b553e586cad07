/* Private: a SEG as the writer makes it (explicit VR little endian, every length explicit) read front to
 * back. Knows nothing of the writing side and holds one frame at most. */
#ifndef DICOM_SEG_READ_BACK_H
#define DICOM_SEG_READ_BACK_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dicom/read/source.h"
#include "engine/base/error.h"

namespace dicom
{
namespace seg
{

/* Bytes of an item or of an element's value, owned by whoever read them. */
struct span {
    const uint8_t *data = nullptr;
    size_t size = 0;
    std::string text() const; /* without padding */
    uint32_t number() const;  /* US or UL; 0 when it is neither */
};

/* The value of an element of an item. false: absent, or the bytes are no elements. */
bool find(span item, uint32_t tag, span &value);
/* The first item of a sequence of the item. */
bool find_item(span item, uint32_t sequence, span &inner);

/* An RLE frame (PS3.5 annex G) of `pixels` samples to out, whose size says how many bytes a sample has, the
 * least significant first. false: it is broken or of another size. */
bool unpack_rle(const uint8_t *in, size_t size, std::vector<uint8_t> &out, size_t pixels);

struct element {
    uint32_t tag = 0, length = 0;
    char vr[3] = "";
};

class part10_stream
{
  public:
    /* Reads preamble and file meta information. Errors: MSA_E_IO, MSA_E_PARSE. */
    msa_status open(const char *path, msa_error *err);
    const std::string &transfer_syntax() const
    {
        return syntax_;
    }
    /* The next element's head; its value is then to be read or skipped. false at the end of the dataset. */
    bool next(element &e);
    /* A head of eight bytes: an item, or the end of a sequence. */
    bool next_item(element &e);
    /* Exactly n bytes, n at most 256 MB. */
    bool read(std::vector<uint8_t> &to, size_t n);
    bool read(uint8_t *to, size_t n);
    bool skip(uint32_t n);

  private:
    std::unique_ptr<Source> file_, inflated_;
    Source *from_ = nullptr;
    std::string syntax_;
};

} // namespace seg
} // namespace dicom
#endif
