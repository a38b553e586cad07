#include "engine/kern/gemm.h"

#include <cblas.h>

#include "engine/kern/blas.h"

void msa_gemm_nt(int64_t M, int64_t N, int64_t K, float alpha, const float *A, int64_t lda, const float *B,
                 int64_t ldb, float *C, int64_t ldc)
{
    msa_blas_start();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)M, (blasint)N, (blasint)K, alpha, A,
                (blasint)lda, B, (blasint)ldb, 0.0f, C, (blasint)ldc);
}

void msa_gemm_nt_add(int64_t M, int64_t N, int64_t K, const float *A, int64_t lda, const float *B,
                     int64_t ldb, float *C, int64_t ldc)
{
    msa_blas_start();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)M, (blasint)N, (blasint)K, 1.0f, A,
                (blasint)lda, B, (blasint)ldb, 1.0f, C, (blasint)ldc);
}

void msa_gemm_nn(int64_t M, int64_t N, int64_t K, const float *A, int64_t lda, const float *B, int64_t ldb,
                 float *C, int64_t ldc)
{
    msa_blas_start();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)M, (blasint)N, (blasint)K, 1.0f, A,
                (blasint)lda, B, (blasint)ldb, 0.0f, C, (blasint)ldc);
}

void msa_gemm_nn_add(int64_t M, int64_t N, int64_t K, const float *A, int64_t lda, const float *B,
                     int64_t ldb, float *C, int64_t ldc)
{
    msa_blas_start();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)M, (blasint)N, (blasint)K, 1.0f, A,
                (blasint)lda, B, (blasint)ldb, 1.0f, C, (blasint)ldc);
}

void msa_gemm_tn_add(int64_t M, int64_t N, int64_t K, float alpha, const float *A, int64_t lda,
                     const float *B, int64_t ldb, float *C, int64_t ldc)
{
    msa_blas_start();
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)M, (blasint)N, (blasint)K, alpha, A,
                (blasint)lda, B, (blasint)ldb, 1.0f, C, (blasint)ldc);
}
