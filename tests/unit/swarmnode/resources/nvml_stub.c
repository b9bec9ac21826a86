/* A libnvidia-ml.so.1 without a GPU: it answers from environment variables.

   STUB_GPUS    name:total_mib:used_mib:pid[:sick],...   pid 0 is no process
   STUB_ERROR   what nvmlInit returns (9: driver not loaded)
   Functions that are missing here are missing in old drivers, too.
   Interface: https://docs.nvidia.com/deploy/nvml-api/ */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, CARDS = 16 };

struct card {
  char name[96], state[16];
  unsigned long long total, used;
  unsigned pid, index;
};
static struct card cards[CARDS];
static unsigned count;

int nvmlInit_v2(void) {
  char *text = strdup(getenv("STUB_GPUS") ? getenv("STUB_GPUS") : "");
  count = 0;
  for (char *part = strtok(text, ","); part && count < CARDS; part = strtok(NULL, ",")) {
    struct card *c = &cards[count];
    memset(c, 0, sizeof *c);
    sscanf(part, "%95[^:]:%llu:%llu:%u:%15s", c->name, &c->total, &c->used, &c->pid, c->state);
    c->total <<= 20, c->used <<= 20, c->index = count++;
  }
  free(text);
  return getenv("STUB_ERROR") ? atoi(getenv("STUB_ERROR")) : OK;
}
int nvmlInitWithFlags(unsigned flags) { (void)flags; return nvmlInit_v2(); }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { return code == NOT_SUPPORTED ? "Not Supported" : "error"; }

int nvmlSystemGetDriverVersion(char *out, unsigned size) { snprintf(out, size, "570.1"); return OK; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12080; return OK; }
int nvmlDeviceGetCount_v2(unsigned *out) { *out = count; return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **out) {
  if (index >= count) return INVALID;
  *out = &cards[index];
  return OK;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **out) {
  unsigned index;
  if (sscanf(uuid, "GPU-%u", &index) != 1 || index >= count) return NOT_FOUND;
  *out = &cards[index];
  return OK;
}
int nvmlDeviceGetUUID(struct card *c, char *out, unsigned size) {
  snprintf(out, size, "GPU-%u", c->index);
  return OK;
}
int nvmlDeviceGetName(struct card *c, char *out, unsigned size) {
  snprintf(out, size, "%s", c->name);
  return OK;
}
int nvmlDeviceGetMinorNumber(struct card *c, unsigned *out) { *out = c->index + 3; return OK; }

struct memory { unsigned long long total, free, used; };
int nvmlDeviceGetMemoryInfo(struct card *c, struct memory *out) {
  if (!c->total) return NOT_SUPPORTED;
  *out = (struct memory){c->total, c->total - c->used, c->used};
  return OK;
}

struct process { unsigned pid; unsigned long long used; unsigned instance, slice; };
int nvmlDeviceGetComputeRunningProcesses_v3(struct card *c, unsigned *n, struct process *out) {
  unsigned room = *n;
  *n = c->pid != 0;
  if (!c->pid) return OK;
  if (room < 1) return TOO_SMALL;
  out[0] = (struct process){c->pid, c->used, ~0u, ~0u};
  return OK;
}
int nvmlDeviceGetCudaComputeCapability(struct card *c, int *major, int *minor) {
  (void)c;
  *major = 8, *minor = 9;
  return OK;
}
int nvmlDeviceGetTotalEccErrors(struct card *c, int kind, int since, unsigned long long *out) {
  (void)kind, (void)since;
  if (strcmp(c->state, "sick")) return NOT_SUPPORTED;
  *out = 3;
  return OK;
}
int nvmlDeviceGetMigMode(struct card *c, unsigned *now, unsigned *then) {
  if (strcmp(c->state, "mig")) return NOT_SUPPORTED;
  *now = *then = 1;
  return OK;
}
