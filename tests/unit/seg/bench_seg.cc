/* Writing a SEG beside DCMTK's DcmSegmentation: the same masks, the same references, one run.
 *
 * usage: bench_seg [ROUNDS]
 * Each writer runs in a process of its own, so that its peak memory is its own. Ours is measured twice: as it
 * is called, which checks by reading back, and only as far as DcmSegmentation goes, the file written and
 * closed (and synced, which costs nothing where files lie in memory). It uses as many threads as there are
 * cores. Both are told where a segment lies, as the engine knows it (DCMTK has a use only for the slices).
 * Files go to $TMPDIR, or to memory where that is not set. Prints medians and the ratios. */
#include "tests/unit/seg/synthetic.h"

#include "dcmtk/dcmfg/fgderimg.h"
#include "dcmtk/dcmfg/fgfracon.h"
#include "dcmtk/dcmfg/fgpixmsr.h"
#include "dcmtk/dcmfg/fgplanor.h"
#include "dcmtk/dcmfg/fgplanpo.h"
#include "dcmtk/dcmseg/segdoc.h"
#include "dcmtk/dcmseg/segment.h"

#include "dicom/seg/seg_impl.h"
#include "engine/base/pool.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace
{

enum { N_SEGMENTS = 13 };

struct measured {
    double seconds, cpu, peak_mb;
    int frames;
};

void must(const OFCondition &cond)
{
    if (cond.good()) return;
    (void)std::fprintf(stderr, "bench_seg: %s\n", cond.text());
    std::exit(1);
}

/* Discs side by side, each segment on `run` slices of its own choice. */
void draw(synthetic &s, int32_t run, int32_t run_of_the_first)
{
    const int32_t slices = s.series.info.slices;
    for (int i = 0; i < N_SEGMENTS; i++) {
        const size_t segment = s.add_segment(("structure " + std::to_string(i + 1)).c_str());
        const int32_t n = i == 0 ? run_of_the_first : run, first = i * (slices - n) / N_SEGMENTS;
        const int row = 64 + i / 4 * 128, col = 64 + i % 4 * 128;
        s.segments[segment].extent = {first, first + n, row - 50, row + 51};
        for (int32_t k = first; k < first + n; k++)
            for (int32_t r = -50; r <= 50; r++)
                for (int32_t c = -50; c <= 50; c++)
                    if (r * r + c * c <= 2500) s.at(segment, k, row + r, col + c) = 1;
    }
}

void must(msa_status status, const msa_error &err)
{
    if (status == MSA_OK) return;
    (void)std::fprintf(stderr, "bench_seg: %s\n", err.what);
    std::exit(1);
}

dicom_seg_options options()
{
    dicom_seg_options o = {};
    o.key = "bench";
    o.series_number = 1;
    return o;
}

int write_ours(synthetic &s, const std::string &dir)
{
    const dicom_seg_options o = options();
    dicom_seg_file files[DICOM_SEG_FILES_MAX];
    size_t n = 0;
    msa_error err = MSA_ERROR_INIT;
    must(dicom_seg_write(&s.series, s.segments.data(), s.segments.size(), &o, dir.c_str(), files, &n, &err),
         err);
    return files[0].frames;
}

/* The same steps without the last: nothing is read back. */
int write_unchecked(synthetic &s, const std::string &dir)
{
    const dicom_seg_options o = options();
    std::vector<dicom::seg::planned_file> plan;
    DcmDataset header;
    msa_error err = MSA_ERROR_INIT;
    must(dicom::seg::make_plan(plan, s.series, s.segments.data(), s.segments.size(), o.form, &err), err);
    const dicom::seg::source from = {s.series, o, plan[0], 1, dicom::seg::choose_charset(s.head(0), {})};
    must(dicom::seg::make_header(header, from, &err), err);
    must(dicom::seg::write_file((dir + "/seg.dcm").c_str(), header, from, &err), err);
    return static_cast<int>(plan[0].frames.size());
}

void add_segments(DcmSegmentation &seg)
{
    for (int i = 0; i < N_SEGMENTS; i++) {
        DcmSegment *segment = nullptr;
        Uint16 number = 0;
        must(DcmSegment::create(segment, OFString(("structure " + std::to_string(i + 1)).c_str()),
                                CodeSequenceMacro("85756007", "SCT", "Tissue"),
                                CodeSequenceMacro("85756007", "SCT", "Tissue"),
                                DcmSegTypes::SAT_SEMIAUTOMATIC, "bench"));
        must(seg.addSegment(segment, number));
    }
}

void add_frame(DcmSegmentation &seg, synthetic &s, int segment, int32_t slice, const uint8_t *mask)
{
    char z[32];
    (void)std::snprintf(z, sizeof z, "%.3f", 10 + 2.5 * slice);
    FGPlanePosPatient position;
    FGFrameContent content;
    FGDerivationImage derivation;
    DerivationImageItem *item = nullptr;
    SourceImageItem *image = nullptr;
    must(position.setImagePositionPatient("-12.50", "3.250", z));
    must(content.setDimensionIndexValues(static_cast<Uint32>(segment + 1), 0));
    must(content.setDimensionIndexValues(static_cast<Uint32>(slice + 1), 1));
    must(derivation.addDerivationImageItem(CodeSequenceMacro("113076", "DCM", "Segmentation"), "", item));
    must(item->addSourceImageItem(
        static_cast<DcmDataset *>(&s.head(slice)),
        CodeSequenceMacro("121322", "DCM", "Source image for image processing operation"), image));
    OFVector<FGBase *> groups;
    groups.push_back(&position);
    groups.push_back(&content);
    groups.push_back(&derivation);
    must(seg.addFrame(const_cast<Uint8 *>(mask), static_cast<Uint16>(segment + 1), groups));
}

int write_dcmtk(synthetic &s, const std::string &dir)
{
    DcmSegmentation *made = nullptr;
    must(DcmSegmentation::createBinarySegmentation(
        made, static_cast<Uint16>(s.series.info.rows), static_cast<Uint16>(s.series.info.cols),
        IODGeneralEquipmentModule::EquipmentInfo("bench", "bench", "1", "1"),
        ContentIdentificationMacro("1", "SEGMENTATION", "bench", "bench^")));
    const std::unique_ptr<DcmSegmentation> seg(made);
    must(seg->importHierarchy(s.head(0), OFTrue, OFTrue, OFTrue, OFFalse, OFTrue));
    must(seg->getSeries().setSeriesNumber("1"));
    add_segments(*seg);
    FGPixelMeasures measures;
    must(measures.setPixelSpacing("0.70\\.9"));
    must(measures.setSliceThickness("2.50"));
    const std::unique_ptr<FGPlaneOrientationPatient> orientation(
        FGPlaneOrientationPatient::createMinimal("1", "0", "0", "0", "1", "0"));
    must(seg->addForAllFrames(measures));
    must(seg->addForAllFrames(*orientation));
    must(seg->getDimensions().addDimensionIndex(DCM_ReferencedSegmentNumber, "1.2.3",
                                                DCM_SegmentIdentificationSequence, "Segment"));
    must(seg->getDimensions().addDimensionIndex(DCM_ImagePositionPatient, "1.2.3", DCM_PlanePositionSequence,
                                                "Position"));
    int frames = 0;
    for (int i = 0; i < N_SEGMENTS; i++) {
        const size_t segment = static_cast<size_t>(i);
        for (int32_t k = s.segments[segment].extent.first_slice; k < s.segments[segment].extent.end_slice;
             k++) {
            const uint8_t *mask = s.masks[segment].data() + static_cast<size_t>(k) * s.pixels();
            if (!std::memchr(mask, 1, s.pixels())) continue;
            add_frame(*seg, s, i, k, mask);
            frames++;
        }
    }
    seg->setCheckFGOnWrite(OFFalse); /* as its users do who have many frames */
    must(seg->saveFile((dir + "/dcmtk.dcm").c_str(), EXS_LittleEndianExplicit));
    return frames;
}

double resident_mb()
{
    long pages[2] = {0, 0};
    FILE *f = std::fopen("/proc/self/statm", "r");
    if (!f || std::fscanf(f, "%ld %ld", &pages[0], &pages[1]) != 2) std::exit(1);
    (void)std::fclose(f);
    return static_cast<double>(pages[1]) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e6;
}

double seconds_of(const struct timeval &t)
{
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
}

/* Runs one writer in a child, which tells what it took. */
measured measure(synthetic &s, const std::string &dir, const char *name,
                 int (*write)(synthetic &, const std::string &))
{
    int ends[2];
    measured m = {};
    if (pipe(ends) != 0) std::exit(1);
    const pid_t child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_NAME, name); /* so that a profiler tells them apart */
        const double before = resident_mb();
        const auto start = std::chrono::steady_clock::now();
        m.frames = write(s, dir);
        m.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        struct rusage use;
        (void)getrusage(RUSAGE_SELF, &use);
        m.cpu = seconds_of(use.ru_utime) + seconds_of(use.ru_stime);
        m.peak_mb = static_cast<double>(use.ru_maxrss) * 1024 / 1e6 - before;
        _exit(::write(ends[1], &m, sizeof m) == sizeof m ? 0 : 1);
    }
    (void)close(ends[1]);
    const bool told = read(ends[0], &m, sizeof m) == sizeof m;
    (void)close(ends[0]);
    (void)waitpid(child, nullptr, 0);
    if (!told) std::exit(1);
    return m;
}

double median(std::vector<double> v)
{
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

struct series_of_runs {
    std::vector<double> seconds, cpu;
    measured last = {};
    void add(const measured &m)
    {
        seconds.push_back(m.seconds);
        cpu.push_back(m.cpu);
        last = m;
    }
    void print(const char *name, const char *what) const
    {
        std::printf("  %-16s %8.1f ms, %8.1f ms of CPU; peak %6.1f MB beside the masks; %d frames %s\n", name,
                    1e3 * median(seconds), 1e3 * median(cpu), last.peak_mb, last.frames, what);
    }
};

void compare(const char *name, int32_t slices, int32_t run, int32_t first, const std::string &dir, int rounds)
{
    synthetic s(512, 512, slices);
    series_of_runs a, b, c;
    draw(s, run, first);
    for (int i = 0; i < rounds; i++) {
        a.add(measure(s, dir, "ours", write_ours));
        b.add(measure(s, dir, "unchecked", write_unchecked));
        c.add(measure(s, dir, "dcmtk", write_dcmtk));
    }
    std::printf("%s: 512 x 512, %d segments, %d slices\n", name, N_SEGMENTS, slices);
    a.print("ours", "written, synced, read back");
    b.print("ours", "written");
    c.print("DcmSegmentation", "written");
    std::printf(
        "  times as fast    %8.1f           %8.1f of CPU; where nothing is read back %.1f, %.1f of CPU\n",
        median(c.seconds) / median(a.seconds), median(c.cpu) / median(a.cpu),
        median(c.seconds) / median(b.seconds), median(c.cpu) / median(b.cpu));
}

} // namespace

int main(int argc, char **argv)
{
    const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 3;
    const char *tmp = std::getenv("TMPDIR");
    std::string dir = std::string(tmp                             ? tmp
                                  : access("/dev/shm", W_OK) == 0 ? "/dev/shm"
                                                                  : "/tmp") +
                      "/msad-bench-XXXXXX";
    msa_error err = MSA_ERROR_INIT;
    if (dicom_init(&err) != MSA_OK || !mkdtemp(&dir[0])) return 1;
    msa_threads_set(static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
    (void)setvbuf(stdout, nullptr, _IOLBF, 0);
    compare("300 frames, dense", 24, 23, 24, dir, rounds);
    compare("300 frames, most slices empty", 100, 23, 24, dir, rounds);
    compare("3900 frames", 300, 300, 300, dir, 1);
    for (const char *name : {"/seg.dcm", "/dcmtk.dcm"})
        (void)unlink((dir + name).c_str());
    return rmdir(dir.c_str()) == 0 ? 0 : 1;
}
