/*
 * clr_plugin.h - the contract between the clr-run host and a model plugin, ABI 1.
 *
 * A session trains K trials ("lanes") that share an architecture, a dataset and a
 * batch size. One step is a table in and a table out: the host passes one row of
 * hyper-parameters per lane, the plugin returns one row of metrics per lane.
 * Schedules, sample order, logging, storage and stopping belong to the host.
 *
 * Rules that hold for every function:
 *  - Nothing unwinds or longjmps across this boundary.
 *  - The caller owns every argument; a callee copies what it wants to keep.
 *    The one exception is the dataset with all it points to, which session_create
 *    borrows until session_destroy returns.
 *  - All strings are UTF-8 with an explicit size; they need no terminator.
 *  - Whoever allocates a struct zeroes it and sets its struct_size to the sizeof() it
 *    was compiled with; neither side touches a field that ends beyond it. So a field
 *    that the other side does not know reads as zero. Fields are only ever appended.
 *    Arrays of such structs stride by the first element's struct_size.
 *    clr_str and clr_split have no struct_size and never change.
 *  - No pointer is null unless its comment says so, or its count is 0.
 *  - [any-thread]: callable concurrently. [session]: one call at a time for each
 *    session, from whatever thread; distinct sessions may run concurrently.
 *  - A lane's numbers do not depend on K, on its neighbours, on how steps are cut
 *    into calls, or on thread_count. Its whole state is its tensors (clr.state/1),
 *    its two seeds and the step that the host passes.
 *  - Divergence is data: a lane whose loss is not finite goes on like any other,
 *    and the host ends it. It is never an error.
 *  - A configuration comes from a user's spec: footprint, session_create and
 *    session_lane_reset check all of it. In the tables of the other calls the host keeps
 *    to the ranges stated here; a plugin may check them and need not.
 *  - A plugin prints nothing, handles no signals, and leaves the floating-point
 *    environment, the locale, masks of signals and the current folder as it found
 *    them. Its own threads compute in the environment that session_create was called
 *    in. Libraries are never unloaded.
 */
#ifndef CLR_PLUGIN_H
#define CLR_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CLR_ABI_MAJOR 1u /* Bumped when an existing field changes meaning; another major is refused. */
#define CLR_ABI_MINOR 1u /* Bumped when a field or function is appended; another minor is accepted. */

typedef struct clr_str {
   const char *data; /* may be null when size is 0 */
   size_t      size;
} clr_str;

/* Each implies one action of the host. */
enum {
   CLR_OK = 0,
   CLR_INVALID_ARGUMENT = 1, /* The host asked for something malformed. Nothing has changed. */
   CLR_UNSUPPORTED = 2,      /* Well-formed, but this plugin cannot do it. Nothing has changed. */
   CLR_OUT_OF_MEMORY = 3,    /* Fewer lanes may succeed. */
   CLR_DEVICE = 4,           /* The driver or a kernel failed, or the device is not there: the process must go
                                before the device is used again. */
   CLR_INTERNAL = 5,         /* A bug in the plugin, a caught panic included. */
   CLR_CANCELLED = 6         /* The host raised the cancel flag and the call ended early. */
};
typedef int32_t clr_status;
/* After CLR_OUT_OF_MEMORY, CLR_DEVICE, CLR_INTERNAL or a status of the host's own (see clr_dataset.load) from a call on
 * a session, the session is only destroyed. */

/* Filled by the callee when the status is not CLR_OK; owned by the caller. */
typedef struct clr_error {
   size_t   struct_size;
   uint32_t message_size;  /* out; bytes written, cut to fit at a character's boundary */
   char     message[1024]; /* out; a fragment in lower case: what is wrong, with the value */
} clr_error;

/* ---- Data ------------------------------------------------------------- */

enum { CLR_TRAIN = 0, CLR_VALIDATION = 1, CLR_TEST = 2, CLR_SPLITS = 3 };

/*
 * What is done to each image on its way to the model, in this order and in float32:
 *   1. (pixel - mean) * scale;
 *   2. in training, where flip is set: a flip left to right, for half of the images;
 *   3. zeros of width pad on each side;
 *   4. a crop to crop_height x crop_width: at a random place in training, in evaluation
 *      at ((height + 2 pad - crop_height) / 2, (width + 2 pad - crop_width) / 2).
 * The model's input is crop_height x crop_width x channels.
 *
 * The random draws of a training image are the words w of Philox 4x32-10 with
 *   key     = [data_seed low, data_seed high],
 *   counter = [sample, epoch, 0, CLR_STREAM_AUGMENT]:
 * flip if w[0] >= 2^31; top = (w[1] * (height + 2 pad - crop_height + 1)) >> 32; left
 * likewise from w[2] and the widths.
 *
 * Since ABI 1.1 a training image may also be a random area of the stored one, resized to the crop (min_area), and have its
 * colours changed (lighting): steps 2 to 4 of that are
 *   2. the area, by the rule of torchvision's RandomResizedCrop: in up to ten tries, numbered n from 1, with the words of
 *      counter [sample, epoch, n, CLR_STREAM_AUGMENT], as fractions f of 2^32: height * width * (min_area + (1 - min_area)
 *      * f[0]) pixels of aspect ratio (width by height) exp(ln(3/4) + (ln(4/3) - ln(3/4)) * f[1]), its sides rounded to even
 *      and at most those of the image; top = (w[2] * (height - its height + 1)) >> 32, left likewise from w[3]; else the
 *      largest area in the middle with a ratio in 3/4 .. 4/3. It is resized to the crop by bilinear filtering with
 *      antialiasing, as in Pillow and in PyTorch; the mean image with it;
 *   3. to red, green and blue the principal components of ImageNet's colours are added, each times its deviation, lighting,
 *      and a normal number of counter [sample, epoch, 11, CLR_STREAM_AUGMENT] (Krizhevsky et al. 2012), before scale;
 *   4. the flip.
 *
 * The SDK does all of this, and clr_image.h what ABI 1.0 has, so that every plugin and device sees the same pixels.
 */
#define CLR_STREAM_AUGMENT 1u

typedef struct clr_transform {
   size_t       struct_size;
   const float *mean;        /* [mean_count]: 0, channels, or height*width*channels of the stored image */
   uint64_t     mean_count;
   const float *scale;       /* [scale_count]: 0, 1 or channels */
   uint64_t     scale_count;
   uint32_t     pad;
   uint32_t     crop_height; /* 0: height */
   uint32_t     crop_width;  /* 0: width */
   uint32_t     flip;        /* 0 or 1 */
   float        min_area;    /* since ABI 1.1: the least share of the image that a training image is an area of; 0: of plain
                                crops. Above 0, pad is 0 */
   float        lighting;    /* since ABI 1.1: the deviation of random light; 0: none. Above 0, channels is 3 */
} clr_transform;

typedef struct clr_split {
   uint64_t       count;  /* at most 2^32; 0 where there is no such split */
   const uint8_t *images; /* [count][height][width][channels]; null where images are streamed, and in footprint */
   const int32_t *labels; /* [count], each in 0 .. class_count-1; null as images are */
} clr_split;

/* A batch of streamed images. */
typedef struct clr_load {
   size_t          struct_size;
   uint32_t        split;
   uint32_t        sample_count;
   const uint32_t *samples;   /* [sample_count] */
   const uint32_t *epochs;    /* [sample_count]; null in evaluation: nothing is random */
   uint64_t        data_seed; /* the lane's; keys what is random together with sample and epoch */
   uint8_t        *images;    /* out; [sample_count][height][width][channels] */
   int32_t        *labels;    /* out; [sample_count] */
} clr_load;

/* Resident where load is null, streamed otherwise. The transform applies to both. */
typedef struct clr_dataset {
   size_t               struct_size;
   uint32_t             height, width, channels, class_count; /* of the images as they are stored; none is 0 */
   clr_split            splits[CLR_SPLITS];
   const clr_transform *transform;    /* null: nothing is done */
   void                *load_context; /* may be null */
   /* Blocks until the batch is there; the host prefetches along the samples of the running call. A status other than
    * CLR_OK is passed on to the host as it came, with its error. Null where resident. [any-thread] */
   clr_status (*load)(void *load_context, const clr_load *load, clr_error *error);
} clr_dataset;

/* ---- What a plugin offers ---------------------------------------------- */

typedef struct clr_model {
   size_t         struct_size;
   clr_str        name;           /* architecture, such as "cifar10_full" */
   clr_str        options_schema; /* JSON Schema of the spec's [model] options: types, defaults, docs */
   clr_str        defaults;       /* JSON object: hypers and optimizer constants that the architecture was published
                                     with, such as {"weight_decay": 0.004}; a spec that says nothing gets these */
   const clr_str *hypers;         /* [hyper_count]; columns that may be scheduled, of all optimizers together */
   uint32_t       hyper_count;
   uint32_t       metric_count;
   const clr_str *metrics;        /* [metric_count]; columns per iteration; "loss" and "accuracy" are among them.
                                     loss: mean over the batch before the update, without weight decay.
                                     grad_norm: L2 norm of that loss's gradient. */
} clr_model;

typedef struct clr_optimizer {
   size_t         struct_size;
   clr_str        name;           /* "sgd", "adam", ... */
   clr_str        options_schema; /* JSON Schema of its constants */
   const clr_str *hypers;         /* [hyper_count]; the columns it reads, some of every model's; it ignores the rest */
   uint32_t       hyper_count;
} clr_optimizer;

/* Every optimizer works with every model. Names are unique within their list and are not empty. */
typedef struct clr_plugin {
   size_t               struct_size;
   clr_str              name;              /* "cifar"; the library is libclr_cifar.so */
   clr_str              version;
   const clr_model     *models;            /* [model_count], at least one */
   const clr_optimizer *optimizers;        /* [optimizer_count], at least one */
   const clr_str       *devices;           /* [device_count]; kinds it was built for: "cpu", "cuda" */
   uint32_t             model_count;
   uint32_t             optimizer_count;
   uint32_t             device_count;
   uint32_t             numerics_revision; /* raised by any change that changes bits */
} clr_plugin;

/* ---- Sessions ----------------------------------------------------------- */

typedef struct clr_lane {
   size_t   struct_size;
   clr_str  options;   /* JSON object: "optimizer", its name, and its constants. Where the optimizer's options_schema has the
                          property "groups" also that: a list of objects with "parameters", a list of names as in
                          clr.parameters/1, each in one group at most, and "lr_mult" and "decay_mult", by which their
                          learning rate and weight decay are multiplied in place of the architecture's own */
   uint64_t init_seed; /* initial weights, dropout */
   uint64_t data_seed; /* augmentation; sample order is the host's */
} clr_lane;

typedef struct clr_session_config {
   size_t             struct_size;
   clr_str            device;       /* "cpu", "cuda:0", ... */
   clr_str            model;
   clr_str            options;      /* JSON object: [model] options and "precision"; every plugin takes "f32", and no
                                    precision for that. Of a model whose options_schema has the property "accumulate"
                                    also that, an integer; 1 where it is absent: see batch_size */
   const clr_dataset *dataset;
   const clr_lane    *lanes;        /* [lane_count] */
   uint32_t           lane_count;   /* K; at least 1 */
   uint32_t           batch_size;   /* samples of a full batch, from which an update is made; at least 1. With
                                    "accumulate" it is computed in so many equal parts, one after the other and a last
                                    one that may be smaller, in the memory of one: the update is of the mean gradient
                                    over all samples, the metrics are of them all, and what depends on a batch (batch
                                    normalisation) sees a part */
   uint32_t           thread_count; /* the plugin computes on at most so many threads at once; at least 1 */
   uint32_t           reserved;     /* 0 */
} clr_session_config;

typedef struct clr_footprint {
   size_t   struct_size;
   uint64_t bytes_shared;   /* out; memory of the device whatever K is; what the dataset already occupies is not counted */
   uint64_t bytes_per_lane; /* out; for the hungriest of config->lanes */
   uint32_t numerics_size;  /* out */
   char     numerics[60];   /* out; what decides the bits besides numerics_revision: backend and instruction-set path or
                               GPU generation, such as "cpu-avx2" or "cuda-sm90" */
} clr_footprint;

/*
 * Many steps of all lanes. Lanes need not be at the same step (refills, resumes) or make
 * equally many. S = step_count; K = lane_count; B = batch_size; L = sample_lane_count.
 * Lane k in step s of this call sees the samples of row
 *   s * L + (L == 1 ? 0 : k).
 * Rows that lane_steps excludes hold nothing meaningful and are not written.
 */
typedef struct clr_step {
   size_t                  struct_size;
   uint32_t                step_count;        /* S; at least 1 */
   uint32_t                sample_lane_count; /* L: K, or 1 where all lanes see the same samples in the same epochs */
   const uint64_t         *first_steps;       /* [K]; updates that each lane has behind it */
   const uint32_t         *lane_steps;        /* [K]; updates to make, at most S; 0 leaves the lane alone */
   const uint32_t         *sample_counts;     /* [S][L]; samples of each batch, 1 .. B */
   const uint32_t         *samples;           /* [S][L][B]; indices into the train split */
   const uint32_t         *epochs;            /* [S][L][B]; the epoch in which each sample is seen: a batch may run over
                                                 the end of one */
   const float            *hypers;            /* [S][K][hyper_count]; any value, non-finite ones too */
   const volatile uint8_t *cancel;            /* 0; becomes 1 when the host wants the call to end between two steps, each
                                                 lane where it is; null: never */
   uint32_t               *lane_steps_done;   /* out; [K]; lane_steps, or less with CLR_CANCELLED; lanes may differ */
   float                  *metrics;           /* out; [S][K][metric_count] */
} clr_step;

/* Means over samples first .. first+count-1, with the transform's evaluation part and without dropout and the like. */
typedef struct clr_evaluate {
   size_t                  struct_size;
   uint32_t                split;
   uint32_t                reserved; /* 0 */
   uint64_t                first;
   uint64_t                count;    /* at least 1 */
   const uint8_t          *active;   /* [K]; 0 skips a lane */
   const volatile uint8_t *cancel;   /* 0; becomes 1 when the host no longer wants the result; null: never */
   float                  *metrics;  /* out; [K][metric_count]; rows of skipped lanes are not written; a metric that has
                                        no meaning here (grad_norm) is NaN */
} clr_evaluate;

typedef struct clr_session clr_session;

typedef struct clr_api {
   size_t   struct_size;
   uint32_t abi_major; /* CLR_ABI_MAJOR; these three fields are where they are in every major */
   uint32_t abi_minor;

   /* Cheap: no device, no file. Strings and arrays live as long as the process. [any-thread] */
   clr_status (*describe)(clr_plugin *plugin, clr_error *error);

   /* What session_create would use, so that the host can choose K; the same errors for the same config. Allocates
    * nothing on the device and reads no pixel: splits may have counts only. [any-thread] */
   clr_status (*footprint)(const clr_session_config *config, clr_footprint *footprint, clr_error *error);

   /* All lanes are at step 0. On CLR_OK *session is the host's to end with session_destroy; otherwise it is not
    * touched. [any-thread] */
   clr_status (*session_create)(const clr_session_config *config, clr_session **session, clr_error *error);

   /* [session] */
   clr_status (*session_step)(clr_session *session, clr_step *step, clr_error *error);

   /* Changes nothing that a later step can see. [session] */
   clr_status (*session_evaluate)(clr_session *session, const clr_evaluate *evaluate, clr_error *error);

   /* Starts another trial in a lane at step 0, as session_create would have. On an error the lane is as it was.
    * [session] */
   clr_status (*session_lane_reset)(clr_session *session, uint32_t lane, const clr_lane *trial, clr_error *error);

   /* Accepts null. [session] */
   void (*session_destroy)(clr_session *session);

   /* The table of functions of an extension, valid for the life of the process; null when unsupported. Ids are
    * "clr.NAME/REVISION". [any-thread] */
   const void *(*extension)(clr_str id);
} clr_api;

/* ---- Extension "clr.state/1": checkpoints, forks, export ----------------- */

#define CLR_STATE_ID "clr.state/1"

enum { CLR_WEIGHT = 1, CLR_OPTIMIZER_STATE = 2, CLR_BUFFER = 3 };

/* A named part of a lane's state: float32, row major. Names, order and shapes depend on the model and on the lane's
 * optimizer alone. Names are unique within a lane. */
typedef struct clr_tensor {
   size_t   struct_size;
   clr_str  name;     /* "conv1.weight" */
   int32_t  role;
   uint32_t rank;     /* at most 6; 0 for a single number */
   uint64_t shape[6];
} clr_tensor;

typedef struct clr_state_api {
   size_t struct_size;
   /* At most 2^30 values in all. *tensors lives until the lane is reset or the session destroyed. [session] */
   clr_status (*tensors)(clr_session *session, uint32_t lane, const clr_tensor **tensors, uint32_t *tensor_count, clr_error *error);
   /* Copies every bit out and in; the next step sees what was loaded. [session] */
   clr_status (*save)(clr_session *session, uint32_t lane, uint32_t tensor, float *values, clr_error *error);
   clr_status (*load)(clr_session *session, uint32_t lane, uint32_t tensor, const float *values, clr_error *error);
} clr_state_api;

/* ---- Extension "clr.parameters/1": what is trained, by name --------------- */

#define CLR_PARAMETERS_ID "clr.parameters/1"

/* A parameter of a model, and what the architecture multiplies its learning rate and its weight decay by; usually 1.
 * It is the tensor of that name and of role CLR_WEIGHT in clr.state/1. */
typedef struct clr_parameter {
   size_t   struct_size;
   clr_str  name;       /* "conv1.bias" */
   uint64_t value_count;
   float    lr_mult;    /* at least 0 */
   float    decay_mult; /* at least 0 */
} clr_parameter;

/* For plugins with optimizers that have "groups": see clr_lane. */
typedef struct clr_parameters_api {
   size_t struct_size;
   /* Calls take for each parameter of the config's model, in order, in the calling thread; what it passes lives through
    * that call. It depends on the model, on its options and on the sizes of the dataset: the same for every device, K and
    * batch size. As footprint it allocates nothing on the device and reads no pixel. [any-thread] */
   clr_status (*parameters)(const clr_session_config *config, void *context,
                            void (*take)(void *context, const clr_parameter *parameter), clr_error *error);
} clr_parameters_api;

/* ---- Extension "clr.ensemble/1": what a lane says of each sample, and averaged weights ---- */

#define CLR_ENSEMBLE_ID "clr.ensemble/1"

/* What one lane says of samples first .. first+count-1, as session_evaluate sees them. */
typedef struct clr_scores {
   size_t                  struct_size;
   uint32_t                lane;
   uint32_t                split;
   uint64_t                first;
   uint64_t                count;  /* at least 1 */
   const volatile uint8_t *cancel; /* 0; becomes 1 when the host no longer wants the result; null: never */
   float                  *logits; /* out; [count][class_count]; the softmax of a row are the classes' probabilities */
} clr_scores;

typedef struct clr_ensemble_api {
   size_t struct_size;
   /* Changes nothing that a later step can see. [session] */
   clr_status (*scores)(clr_session *session, const clr_scores *scores, clr_error *error);
   /* For weights that were averaged: replaces what normalisation remembers of its inputs (running means and variances) by
    * plain averages over sample_count samples of the train split, in batches of batch_size, augmented as in epoch 0. Weights
    * and the optimizer's state stay. (Izmailov et al. 2018, section 3.2.) Nothing to do for a model without such buffers.
    * [session] */
   clr_status (*average_statistics)(clr_session *session, uint32_t lane, const uint32_t *samples, uint64_t sample_count,
                                    clr_error *error);
} clr_ensemble_api;

/* The only exported symbol. Never returns null; the table is valid for the life of the process. */
#if defined(_WIN32)
__declspec(dllexport)
#elif defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const clr_api *clr_plugin_api(void);

#ifdef __cplusplus
}
#endif
#endif /* CLR_PLUGIN_H */
