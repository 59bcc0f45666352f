/* Gbit/s of AES-256-GCM on one core: our aead, the same library called bare in a loop, and OpenSSL. Packets in place, a ring of
 * 256 of them so that the cache is warm as in a router. Prints JSON. */
#include "base/clock.h"
#include "crypto/aead.h"

#include <intel-ipsec-mb.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RING = 256 };
static uint8_t packets[RING][2048], tags[RING][16];
static const uint8_t key[32] = {1};

static double gbit(uint64_t bytes, int64_t ns)
{
    return (double)bytes * 8 / (double)ns;
}

static double ours(unsigned size, uint64_t rounds, const char **name)
{
    struct aead *a;
    struct aead_key *k;
    static struct aead_job jobs[RING];
    if (aead_create(&a) || aead_key_create(&k, a, key))
        exit(1);
    *name = aead_name(a);
    for (int i = 0; i < RING; i++)
        jobs[i] =
            (struct aead_job){.key = k, .bytes = packets[i], .len = size, .aad = key, .aad_len = 8, .tag = tags[i]};
    int64_t begin = clock_now_ns();
    for (uint64_t r = 0; r < rounds; r++)
        for (int at = 0; at < RING; at += 32) {
            for (int i = 0; i < 32; i++)
                memcpy(jobs[at + i].nonce + 4, &r, 8);
            aead_seal(a, jobs + at, 32);
        }
    return gbit(rounds * RING * size, clock_now_ns() - begin);
}

static double bare(unsigned size, uint64_t rounds)
{
    IMB_MGR *m = alloc_mb_mgr(0);
    IMB_ARCH arch;
    static struct gcm_key_data k __attribute__((aligned(64)));
    struct gcm_context_data c;
    uint8_t nonce[12] = {0};
    init_mb_mgr_auto(m, &arch);
    IMB_AES256_GCM_PRE(m, key, &k);
    int64_t begin = clock_now_ns();
    for (uint64_t r = 0; r < rounds; r++)
        for (int i = 0; i < RING; i++) {
            memcpy(nonce + 4, &r, 8);
            IMB_AES256_GCM_ENC(m, &k, &c, packets[i], packets[i], size, nonce, key, 8, tags[i], 16);
        }
    return gbit(rounds * RING * size, clock_now_ns() - begin);
}

static double openssl(unsigned size, uint64_t rounds)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    uint8_t nonce[12] = {0};
    int n;
    EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce);
    int64_t begin = clock_now_ns();
    for (uint64_t r = 0; r < rounds; r++)
        for (int i = 0; i < RING; i++) {
            memcpy(nonce + 4, &r, 8);
            EVP_EncryptInit_ex(c, NULL, NULL, NULL, nonce);
            EVP_EncryptUpdate(c, NULL, &n, key, 8);
            EVP_EncryptUpdate(c, packets[i], &n, packets[i], (int)size);
            EVP_EncryptFinal_ex(c, packets[i] + n, &n);
            EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, 16, tags[i]);
        }
    return gbit(rounds * RING * size, clock_now_ns() - begin);
}

int main(int argc, char **argv)
{
    unsigned size = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1420;
    uint64_t rounds = 400000000ull / (size < 64 ? 64 : size) / RING * 4;
    const char *name;
    double o = ours(size, rounds, &name), b = bare(size, rounds), s = openssl(size, rounds / 4);
    printf("{\"bytes\":%u,\"implementation\":\"%s\",\"ours_gbps\":%.2f,\"bare_gbps\":%.2f,\"openssl_gbps\":%.2f}\n",
        size, name, o, b, s);
    return 0;
}
