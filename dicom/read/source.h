/* Private: forward-only bytes of a file, plain or inflated, for the pre-scan. */
#ifndef DICOM_READ_SOURCE_H
#define DICOM_READ_SOURCE_H

#include <cstddef>
#include <cstdint>
#include <memory>

namespace dicom
{

/* Not found, unreadable: the constructor function returns null and sets errno. A short read is how the end
 * shows. */
class Source
{
  public:
    virtual ~Source() = default;
    /* Up to n bytes; fewer only at the end or on a failure (then failed() says so). */
    virtual size_t read(void *to, size_t n) = 0;
    virtual bool skip(uint64_t n) = 0; /* false when there are fewer */
    virtual uint64_t offset() const = 0;
    virtual uint64_t end() const = 0; /* upper bound of offset(); exact for a plain file */
    virtual bool failed() const = 0;
};

std::unique_ptr<Source> open_file_source(const char *path);
/* Raw deflate stream (PS3.5 annex A.5) that starts where `inner` stands; stops as failed() after `limit`
 * bytes. */
std::unique_ptr<Source> open_inflate_source(Source &inner, uint64_t limit);

} // namespace dicom
#endif
