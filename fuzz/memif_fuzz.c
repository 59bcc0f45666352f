/* Messages of a memif peer: what is accepted decodes again, from its encoding, to the same. */
#include "wire/memif.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memif_message a, b;
    uint8_t bytes[MEMIF_MESSAGE_SIZE], again[MEMIF_MESSAGE_SIZE];
    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    if (memif_decode(&a, data, size))
        return 0;
    memif_encode(bytes, &a);
    if (memif_decode(&b, bytes, sizeof(bytes)))
        abort();
    memif_encode(again, &b);
    if (memcmp(bytes, again, sizeof(bytes)))
        abort();
    return 0;
}
