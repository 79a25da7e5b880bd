/* The part of the driver that engine/runtimes/device.py calls, on memory of the host: enough for the real cuda-bindings to be run
   where there is no GPU. Context, stream and device have values of their own, and any other is refused. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
typedef unsigned long long Address;
enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, NOT_FOUND = 500 };
enum { MAJOR = 75, MINOR = 76, MOST = 1000000 };
static void *const CONTEXT = (void *)0x77, *const STREAM = (void *)0x55;

Result cuInit(unsigned flags) { return flags ? INVALID_VALUE : SUCCESS; }
Result cuDriverGetVersion(int *version) { *version = 12060; return SUCCESS; }
Result cuDeviceGetCount(int *count) { *count = 1; return SUCCESS; }
Result cuDeviceGet(int *device, int index) { *device = index; return index ? INVALID_DEVICE : SUCCESS; }
Result cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "Stub"); return SUCCESS; }
Result cuDeviceGetAttribute(int *value, int which, int device) {
  *value = which == MAJOR ? 8 : which == MINOR ? 7 : -1;
  return SUCCESS;
}
Result cuDevicePrimaryCtxRetain(void **context, int device) { *context = CONTEXT; return SUCCESS; }
Result cuDevicePrimaryCtxRelease_v2(int device) { puts("context released"); fflush(stdout); return SUCCESS; }
Result cuCtxSetCurrent(void *context) { return context == CONTEXT ? SUCCESS : INVALID_CONTEXT; }
Result cuStreamCreate(void **stream, unsigned flags) { *stream = STREAM; return flags == 1 ? SUCCESS : INVALID_VALUE; }
Result cuStreamSynchronize(void *stream) { return stream == STREAM ? SUCCESS : INVALID_VALUE; }
Result cuStreamDestroy_v2(void *stream) { return stream == STREAM ? SUCCESS : INVALID_VALUE; }
Result cuMemAlloc_v2(Address *address, size_t size) {
  if (size > MOST) return OUT_OF_MEMORY;
  *address = (Address)malloc(size);
  return SUCCESS;
}
Result cuMemFree_v2(Address address) { free((void *)address); return SUCCESS; }
Result cuMemHostAlloc(void **address, size_t size, unsigned flags) { *address = malloc(size); return SUCCESS; }
Result cuMemFreeHost(void *address) { free(address); return SUCCESS; }
Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t size, void *stream) {
  if (stream != STREAM) return INVALID_VALUE;
  memcpy((void *)to, from, size);
  return SUCCESS;
}
Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t size, void *stream) {
  if (stream != STREAM) return INVALID_VALUE;
  memcpy(to, (const void *)from, size);
  return SUCCESS;
}
Result cuGetErrorString(Result code, const char **text) {
  *text = code == OUT_OF_MEMORY ? "out of memory" : "another error";
  return SUCCESS;
}

static void *find(const char *name) {
  char newer[128];
  Dl_info self;
  dladdr((void *)find, &self);
  void *library = dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  snprintf(newer, sizeof newer, "%s_v2", name);
  void *found = dlsym(library, newer);
  return found ? found : dlsym(library, name);
}
Result cuGetProcAddress_v2(const char *name, void **function, int version, unsigned long long flags, void *status) {
  *function = find(name);
  return *function ? SUCCESS : NOT_FOUND;
}
Result cuGetProcAddress(const char *name, void **function, int version, unsigned long long flags) {
  return cuGetProcAddress_v2(name, function, version, flags, 0);
}
