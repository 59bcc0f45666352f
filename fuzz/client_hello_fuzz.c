/* The supervisor's first look at a stranger's bytes: any prefix gives an answer, and answers agree as bytes arrive. */
#include "wire/client_hello.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[CLIENT_HELLO_NAME];
    size_t need = 0;
    int rc = client_hello_name(name, &need, data, size);
    if (rc == -EAGAIN && (need <= size || need > CLIENT_HELLO_MAX))
        abort();
    if (rc != -EAGAIN && size) {
        /* One byte less may need more, but never says something else than the whole does. */
        int before = client_hello_name(name, &need, data, size - 1);
        if (before != -EAGAIN && before != rc)
            abort();
    }
    return 0;
}
