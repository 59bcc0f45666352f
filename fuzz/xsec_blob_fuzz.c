/* Beacons from BGP, kits, requests and lists from files, as bytes and as text: what is accepted encodes to the same bytes. */
#include "wire/xsec_kit.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const uint8_t *data, size_t size, const uint8_t *again, size_t len)
{
    if (len != size || memcmp(data, again, len) != 0)
        abort();
}

static void check_blobs(const uint8_t *data, size_t size)
{
    static struct xsec_beacon beacon;
    static struct xsec_certificate certificate;
    static struct xsec_revocations list;
    static struct xsec_request request;
    static struct xsec_kit kit;
    static uint8_t out[XSEC_BEACON_MOST > XSEC_KIT_MOST ? XSEC_BEACON_MOST : XSEC_KIT_MOST];
    struct xsec_carried carried;
    if (xsec_beacon_decode(&beacon, &carried, data, size) == 0) {
        if (carried.len)
            xsec_revocations_decode(&list, carried.list, carried.len);
        same(data, size, out, xsec_beacon_encode(&beacon, &carried, out));
    }
    if (xsec_certificate_decode(&certificate, data, size) == 0)
        same(data, size, out, xsec_certificate_encode(&certificate, out));
    if (xsec_revocations_decode(&list, data, size) == 0)
        same(data, size, out, xsec_revocations_encode(&list, out));
    if (xsec_request_decode(&request, data, size) == 0)
        same(data, size, out, xsec_request_encode(&request, out));
    if (xsec_kit_decode(&kit, data, size) == 0)
        same(data, size, out, xsec_kit_encode(&kit, out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[XSEC_FILE_MOST];
    enum xsec_file kind;
    size_t len;
    check_blobs(data, size);
    if (xsec_text_decode(&kind, bytes, &len, (const char *)data, size) == 0)
        check_blobs(bytes, len);
    return 0;
}
