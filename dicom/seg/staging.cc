#include "dicom/seg/staging.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

using dicom::seg::staging;

staging::~staging()
{
    for (const std::string &name : pending_)
        (void)unlink(part(name).c_str());
}

std::string staging::part(const std::string &name) const
{
    return dir_ + "/." + name + ".part";
}

std::string staging::add(size_t number)
{
    pending_.push_back(stem_ + (number == 1 ? "" : "-" + std::to_string(number)) + ".dcm");
    return part(pending_.back());
}

msa_status staging::publish(msa_error *err)
{
    for (const std::string &name : pending_)
        if (std::rename(part(name).c_str(), (dir_ + "/" + name).c_str()) != 0)
            return msa_fail(err, msa_errno_status(errno), "cannot rename %s: %s", name.c_str(),
                            std::strerror(errno));
    pending_.clear();
    return sync_dir(err);
}

msa_status staging::sync_dir(msa_error *err) const
{
    const int fd = open(dir_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return msa_fail(err, MSA_E_IO, "cannot open the result folder: %s", std::strerror(errno));
    const bool synced = fsync(fd) == 0;
    (void)close(fd);
    if (!synced)
        return msa_fail(err, msa_errno_status(errno), "cannot make the result folder durable: %s",
                        std::strerror(errno));
    return MSA_OK;
}
