/* SPDX-License-Identifier: BSD-3-Clause
 * The backend of a run: an instance that the context holds, and what the
 * functions of <qtk/ops.h> call. */
#ifndef QTK_CORE_DEVICE_H
#define QTK_CORE_DEVICE_H

#include <pthread.h>

#include <qtk/backend.h>

#include "core/context.h"
#include "core/registry.h"

struct qtk_device {
  struct qtk_backend_ops ops; /* of this library's size: older plugins have NULL slots */
  struct qtk_device_info info;
  const char *name;         /* the plugin's */
  enum qtk_threads threads; /* less than QTK_THREADS_ANY: calls take the lock */
  pthread_mutex_t lock;
  void *h;
};

/* The backend of that name, or for "auto" the best that has a device here. A backend
 * that cannot be loaded is a warning unless it is asked for by name. QTK_EPLUGIN if
 * there is none. */
QTK_PUBLIC int qtk_device_choose(const char *name, const struct qtk_loaded **loaded);
/* Chooses, and opens its first device for this context with default options. */
QTK_PUBLIC int qtk_device_start(struct qtk_context *ctx, const char *name);

/* Opens device number `device` of a backend for this context; `options` is the
 * plugin's struct, or NULL. QTK_EPLUGIN if it has no such device, QTK_EINTERNAL if
 * the context has a backend already. */
QTK_PUBLIC int qtk_device_open(struct qtk_context *ctx, const struct qtk_plugin *plugin,
                               const void *options, int device);
/* Ends the context's backend, if it has one, before the context itself. */
QTK_PUBLIC void qtk_device_close(struct qtk_context *ctx);

/* Held while a slot of the backend runs, unless it takes any number of calls. */
void qtk_device_lock(struct qtk_device *d);
void qtk_device_unlock(struct qtk_device *d);

/* The plugin's name; what it says to be using ("" if it says nothing); the device. */
QTK_PUBLIC const char *qtk_device_plugin(struct qtk_context *ctx);
QTK_PUBLIC const char *qtk_device_describe(struct qtk_context *ctx);
QTK_PUBLIC const struct qtk_device_info *qtk_device_info(struct qtk_context *ctx);

/* A weight matrix made ready for the linear operations, and given back: slots hold
 * and release of struct qtk_backend_ops. */
QTK_PUBLIC int qtk_device_hold(struct qtk_context *ctx, const struct qtk_qtensor *host,
                               struct qtk_qtensor *device);
QTK_PUBLIC void qtk_device_release(struct qtk_context *ctx, struct qtk_qtensor *device);

#endif
