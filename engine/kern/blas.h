/* OpenBLAS, made ready: one thread, and kernels that fit the CPU. */
#ifndef MSA_ENGINE_KERN_BLAS_H
#define MSA_ENGINE_KERN_BLAS_H

/**
 * Any number of calls, any thread; the first does the work and every product of the engine comes after one.
 * An OpenBLAS older than the CPU does not know its model and falls back to kernels of 2004, five times slower
 * than AVX2; then the newest family that the CPU's flags allow is chosen. OPENBLAS_CORETYPE, when set, is
 * left alone. Which kernels run ("SkylakeX", "Haswell", ...; of our own "avx512", ...) is logged: bits are
 * the same on the same ones.
 */
void msa_blas_start(void);

#endif
