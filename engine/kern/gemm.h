/* Matrix products on OpenBLAS, one thread each; row-major, ld = elements from one row to the next. */
#ifndef MSA_ENGINE_KERN_GEMM_H
#define MSA_ENGINE_KERN_GEMM_H

#include <stdint.h>

/* C(M,N) = alpha A(M,K) B(N,K)^T */
void msa_gemm_nt(int64_t M, int64_t N, int64_t K, float alpha, const float *A, int64_t lda, const float *B,
                 int64_t ldb, float *C, int64_t ldc);
/* C(M,N) += A(M,K) B(N,K)^T */
void msa_gemm_nt_add(int64_t M, int64_t N, int64_t K, const float *A, int64_t lda, const float *B,
                     int64_t ldb, float *C, int64_t ldc);
/* C(M,N) = A(M,K) B(K,N) */
void msa_gemm_nn(int64_t M, int64_t N, int64_t K, const float *A, int64_t lda, const float *B, int64_t ldb,
                 float *C, int64_t ldc);
/* C(M,N) += A(M,K) B(K,N) */
void msa_gemm_nn_add(int64_t M, int64_t N, int64_t K, const float *A, int64_t lda, const float *B,
                     int64_t ldb, float *C, int64_t ldc);
/* C(M,N) += alpha A(K,M)^T B(K,N): gradients of weights, summed over rows. */
void msa_gemm_tn_add(int64_t M, int64_t N, int64_t K, float alpha, const float *A, int64_t lda,
                     const float *B, int64_t ldb, float *C, int64_t ldc);

#endif
