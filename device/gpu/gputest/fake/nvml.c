// A stand-in for NVIDIA's management library, for tests: the same names and the
// same ABI, loaded in the same way. It says what the text file beside it says
// (NAME.state, written by package gputest), read anew in each call:
//
//   gpu uuid|name|memory MiB|bus id|min|max|default mW|power mW|energy mJ|temp|util|used MiB|mode
//   proc index|pid|MiB
//   limits refused            only where the caller is not allowed to set them
//
// The mode is ok, lost, hang, or blind (no sensor, no limit). A limit that was set
// stands in NAME.limit.INDEX, as a driver keeps it when its callers die. An error
// is a file NAME.xid.INDEX that holds its number and is taken away by who sees it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int ret;
typedef struct { int index; } *dev;
enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, SMALL = 7, NO_DRIVER = 9, TIMEOUT = 10, LOST = 15 };

struct gpu {
	char uuid[96], name[96], bus[32], mode[16];
	unsigned long long memory, min, max, def, power, energy, temp, util, used;
};

static struct { int index; } handles[16];

static const char *beside(char *buf, size_t n, const char *what, int i) {
	Dl_info info;
	if (!dladdr((void *)&handles, &info)) abort();
	if (i < 0) snprintf(buf, n, "%s.%s", info.dli_fname, what);
	else snprintf(buf, n, "%s.%s.%d", info.dli_fname, what, i);
	return buf;
}

static FILE *state(void) {
	char path[4096];
	return fopen(beside(path, sizeof path, "state", -1), "r");
}

static int read_gpu(int want, struct gpu *g) {
	FILE *f = state();
	if (!f) return -1;
	char line[1024];
	int n = 0, found = 0;
	while (fgets(line, sizeof line, f)) {
		if (strncmp(line, "gpu ", 4)) continue;
		if (n++ != want) continue;
		found = 13 == sscanf(line + 4, "%95[^|]|%95[^|]|%llu|%31[^|]|%llu|%llu|%llu|%llu|%llu|%llu|%llu|%llu|%15s", g->uuid, g->name, &g->memory,
			g->bus, &g->min, &g->max, &g->def, &g->power, &g->energy, &g->temp, &g->util, &g->used, g->mode);
	}
	fclose(f);
	return want < 0 ? n : found;
}

// get fills g with what the device is, or fails as the device does.
static ret get(dev d, struct gpu *g) {
	if (!d || read_gpu(d->index, g) != 1) return INVALID;
	if (!strcmp(g->mode, "hang")) for (;;) pause();
	if (!strcmp(g->mode, "lost")) return LOST;
	return OK;
}

#define GET struct gpu g; ret r = get(d, &g); if (r) return r
#define SENSOR GET; if (!strcmp(g.mode, "blind")) return NOT_SUPPORTED

static unsigned long long limit_of(dev d, struct gpu *g) {
	char path[4096];
	unsigned long long v = g->def;
	FILE *f = fopen(beside(path, sizeof path, "limit", d->index), "r");
	if (f) { if (fscanf(f, "%llu", &v) != 1) v = g->def; fclose(f); }
	return v;
}

ret nvmlInit_v2(void) { FILE *f = state(); if (!f) return NO_DRIVER; fclose(f); return OK; }
ret nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(ret r) {
	switch (r) {
	case NOT_SUPPORTED: return "Not Supported";
	case NO_PERMISSION: return "Insufficient Permissions";
	case NOT_FOUND: return "Not Found";
	case NO_DRIVER: return "Driver Not Loaded";
	case LOST: return "GPU is lost";
	}
	return "Unknown Error";
}
ret nvmlSystemGetDriverVersion(char *v, unsigned n) { snprintf(v, n, "550.0.fake"); return OK; }
ret nvmlSystemGetNVMLVersion(char *v, unsigned n) { snprintf(v, n, "12.550.0.fake"); return OK; }
ret nvmlDeviceGetCount_v2(unsigned *n) { int c = read_gpu(-1, 0); if (c < 0) return NO_DRIVER; *n = c; return OK; }
ret nvmlDeviceGetHandleByIndex_v2(unsigned i, dev *d) {
	struct gpu g;
	if (i >= 16 || read_gpu(i, &g) != 1) return INVALID;
	if (!strcmp(g.mode, "lost")) return LOST;
	handles[i].index = i;
	*d = (dev)&handles[i];
	return OK;
}
ret nvmlDeviceGetHandleByUUID(const char *uuid, dev *d) {
	struct gpu g;
	for (int i = 0; i < 16 && read_gpu(i, &g) == 1; i++)
		if (!strcmp(g.uuid, uuid)) return nvmlDeviceGetHandleByIndex_v2(i, d);
	return NOT_FOUND;
}
ret nvmlDeviceGetName(dev d, char *s, unsigned n) { GET; snprintf(s, n, "%s", g.name); return OK; }
ret nvmlDeviceGetUUID(dev d, char *s, unsigned n) { struct gpu g; if (read_gpu(d->index, &g) != 1) return INVALID; snprintf(s, n, "%s", g.uuid); return OK; }
struct pci { char legacy[16]; unsigned domain, bus, device, id, sub; char bus_id[32]; };
ret nvmlDeviceGetPciInfo_v3(dev d, struct pci *p) { GET; memset(p, 0, sizeof *p); memcpy(p->bus_id, g.bus, 32); return OK; }
struct memory { unsigned long long total, free, used; };
ret nvmlDeviceGetMemoryInfo(dev d, struct memory *m) { GET; m->total = g.memory << 20; m->used = g.used << 20; m->free = m->total - m->used; return OK; }
struct util { unsigned gpu, memory; };
ret nvmlDeviceGetUtilizationRates(dev d, struct util *u) { SENSOR; u->gpu = g.util; u->memory = 0; return OK; }
ret nvmlDeviceGetPowerUsage(dev d, unsigned *p) { SENSOR; unsigned long long l = limit_of(d, &g); *p = g.power < l ? g.power : l; return OK; }
ret nvmlDeviceGetTotalEnergyConsumption(dev d, unsigned long long *e) { SENSOR; *e = g.energy; return OK; }
ret nvmlDeviceGetTemperature(dev d, int s, unsigned *t) { SENSOR; if (s) return INVALID; *t = g.temp; return OK; }
ret nvmlDeviceGetClockInfo(dev d, int c, unsigned *v) { SENSOR; if (c != 1) return INVALID; *v = 1980; return OK; }
// The older of the two names, as drivers before 535 have it.
ret nvmlDeviceGetCurrentClocksThrottleReasons(dev d, unsigned long long *v) { SENSOR; *v = g.power > limit_of(d, &g) ? 4 : g.util ? 0 : 1; return OK; }
ret nvmlDeviceGetPowerManagementLimitConstraints(dev d, unsigned *lo, unsigned *hi) { SENSOR; *lo = g.min; *hi = g.max; return OK; }
ret nvmlDeviceGetPowerManagementDefaultLimit(dev d, unsigned *v) { SENSOR; *v = g.def; return OK; }
ret nvmlDeviceGetPowerManagementLimit(dev d, unsigned *v) { SENSOR; *v = limit_of(d, &g); return OK; }
ret nvmlDeviceGetEnforcedPowerLimit(dev d, unsigned *v) { SENSOR; *v = limit_of(d, &g); return OK; }
ret nvmlDeviceSetPowerManagementLimit(dev d, unsigned v) {
	SENSOR;
	char line[256];
	FILE *f = state();
	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, "limits refused", 14)) { fclose(f); return NO_PERMISSION; }
	if (f) fclose(f);
	if (v < g.min || v > g.max) return INVALID;
	char path[4096];
	f = fopen(beside(path, sizeof path, "limit", d->index), "w");
	if (!f) return NO_PERMISSION;
	fprintf(f, "%u\n", v);
	fclose(f);
	return OK;
}
ret nvmlDeviceGetMigMode(dev d, unsigned *now, unsigned *next) { (void)d; (void)now; (void)next; return NOT_SUPPORTED; }
struct process { unsigned pid; unsigned long long memory; unsigned gi, ci; };
ret nvmlDeviceGetComputeRunningProcesses_v3(dev d, unsigned *n, struct process *p) {
	GET;
	FILE *f = state();
	char line[256];
	unsigned room = *n, i = 0, gpu, pid;
	unsigned long long mib;
	while (f && fgets(line, sizeof line, f))
		if (3 == sscanf(line, "proc %u|%u|%llu", &gpu, &pid, &mib) && (int)gpu == d->index) {
			if (i < room) p[i] = (struct process){pid, mib << 20, ~0u, ~0u};
			i++;
		}
	if (f) fclose(f);
	*n = i;
	return i > room ? SMALL : OK;
}
ret nvmlDeviceGetGraphicsRunningProcesses_v3(dev d, unsigned *n, struct process *p) { (void)d; (void)p; *n = 0; return NOT_SUPPORTED; }
ret nvmlEventSetCreate(void **set) { static int one; *set = &one; return OK; }
ret nvmlDeviceGetSupportedEventTypes(dev d, unsigned long long *v) { SENSOR; *v = 0x1a; return OK; }
ret nvmlDeviceRegisterEvents(dev d, unsigned long long kinds, void *set) { (void)set; SENSOR; return kinds == 8 || kinds == 10 ? OK : INVALID; }
ret nvmlEventSetFree(void *set) { (void)set; return OK; }
struct event { dev d; unsigned long long kind, data; unsigned gi, ci; };
ret nvmlEventSetWait_v2(void *set, struct event *e, unsigned ms) {
	(void)set;
	for (unsigned waited = 0; waited <= ms; waited += 20, usleep(20000))
		for (int i = 0; i < 16; i++) {
			char path[4096];
			FILE *f = fopen(beside(path, sizeof path, "xid", i), "r");
			if (!f) continue;
			unsigned long long xid;
			int ok = fscanf(f, "%llu", &xid) == 1;
			fclose(f);
			if (!ok) continue;
			unlink(path);
			handles[i].index = i;
			*e = (struct event){(dev)&handles[i], 8, xid, ~0u, ~0u};
			return OK;
		}
	return TIMEOUT;
}
