/* How fast this machine multiplies and adds: what the rates of kernels are a share of. */
#ifndef MSA_ENGINE_KERN_PEAK_H
#define MSA_ENGINE_KERN_PEAK_H

#include <stdint.h>

/**
 * fp32 GFLOP/s (a fused multiply-add counts as two) that nothing but multiply-adds in registers reach on so
 * many of the engine's threads (at most msa_threads_get()), with the widest instruction set that this CPU
 * has, MSA_CPU_MASK or not. The best of several short runs, warm: about 50 ms. Not while the pool serves
 * somebody else.
 */
double msa_fma_peak_gflops(int32_t threads);

#endif
