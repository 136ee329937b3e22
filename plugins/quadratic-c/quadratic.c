/*
 * quadratic.c - a whole clr-run plugin in C: a quadratic bowl, with the same bits as ../quadratic in Rust.
 *
 * Build and check:
 *   cc -std=c99 -O2 -ffp-contract=off -shared -fPIC -I ../abi/include quadratic.c -lm -o libclr_quadratic_c.so
 *   clr-run plugin check ./libclr_quadratic_c.so
 *
 * (-ffp-contract=off: a compiler that fuses a*b + c where the processor can would give other bits there.)
 *
 * The model: loss(w) = mean over samples s of 1/2 sum over i of a_i (w_i - t_si)^2. The eigenvalues a_i go evenly from 1
 * to `condition`; the optimum of sample s is t_si = 1 + noise u_si, with u_si uniform in [-1, 1). Of the dataset it uses
 * the samples' indices, never a pixel.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clr_image.h"
#include "clr_plugin.h"

enum { HYPERS = 3, METRICS = 3, STREAM_INIT = 3, STREAM_NOISE = 5 };
enum { GD, SGD };

typedef struct options {
   uint32_t dimension;
   float    condition, noise, tolerance;
} options;

typedef struct trial {
   int        optimizer;
   float     *weights, *velocity; /* [dimension]; velocity is null for gd */
   clr_tensor tensors[2];
} trial;

struct clr_session {
   options  options;
   uint32_t lane_count, batch_size;
   uint64_t counts[CLR_SPLITS];               /* of the dataset's splits */
   float   *eigenvalues, *noise_sum, *gradient; /* [dimension] */
   trial   *lanes;                            /* [lane_count] */
};

/* ---- Errors and texts --------------------------------------------------- */

static clr_status fail(clr_error *error, clr_status status, const char *format, ...) {
   va_list arguments;
   int size;
   va_start(arguments, format);
   size = vsnprintf(error->message, sizeof error->message, format, arguments);
   va_end(arguments);
   if (size < 0) size = 0;
   if ((size_t)size >= sizeof error->message) size = (int)sizeof error->message - 1;
   error->message_size = (uint32_t)size;
   return status;
}

/* Every struct of ABI 1.0 has at least its present size; a newer host's is larger. */
#define CHECK_SIZE(pointer)                                                                    \
   do {                                                                                        \
      if (!(pointer)) return fail(error, CLR_INVALID_ARGUMENT, #pointer " is null");           \
      if ((pointer)->struct_size < sizeof *(pointer))                                          \
         return fail(error, CLR_INVALID_ARGUMENT, #pointer ": struct_size is too small");      \
   } while (0)

static int equals(clr_str text, const char *word) {
   return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

/* ---- Options: a flat JSON object ---------------------------------------- */

typedef struct cursor { const char *at, *end; } cursor;

static void skip_space(cursor *json) {
   while (json->at < json->end && (*json->at == ' ' || *json->at == '\t' || *json->at == '\n' || *json->at == '\r'))
      json->at++;
}

static int take(cursor *json, char expected) {
   skip_space(json);
   if (json->at == json->end || *json->at != expected) return 0;
   json->at++;
   return 1;
}

/* A string without escapes: none of our keys and values needs one. */
static int take_string(cursor *json, clr_str *text) {
   if (!take(json, '"')) return 0;
   text->data = json->at;
   while (json->at < json->end && *json->at != '"' && *json->at != '\\' && (unsigned char)*json->at >= ' ') json->at++;
   text->size = (size_t)(json->at - text->data);
   return take(json, '"');
}

/* Copied, since strtod wants a terminator and the host's text has none. */
static int take_number(cursor *json, double *number) {
   char digits[64], *rest;
   size_t size = 0;
   skip_space(json);
   while (json->at < json->end && *json->at && strchr("+-0123456789.eE", *json->at) && size + 1 < sizeof digits)
      digits[size++] = *json->at++;
   digits[size] = '\0';
   *number = strtod(digits, &rest);
   return size > 0 && *rest == '\0' && digits[0] != '+';
}

/* Calls set() for each member with either a text or a number; text is null for a number. */
typedef clr_status (*set_member)(void *target, clr_str key, const clr_str *text, double number, clr_error *error);

static clr_status parse_object(clr_str source, const char *what, set_member set, void *target, clr_error *error) {
   cursor json;
   json.at = source.data;
   json.end = source.data + source.size;
   if (!take(&json, '{')) goto malformed;
   if (!take(&json, '}')) {
      do {
         clr_str key, text;
         double number = 0;
         clr_status status;
         int is_text;
         if (!take_string(&json, &key) || !take(&json, ':')) goto malformed;
         is_text = take_string(&json, &text);
         if (!is_text && !take_number(&json, &number)) goto malformed;
         status = set(target, key, is_text ? &text : NULL, number, error);
         if (status != CLR_OK) return status;
      } while (take(&json, ','));
      if (!take(&json, '}')) goto malformed;
   }
   skip_space(&json);
   if (json.at == json.end) return CLR_OK;
malformed:
   return fail(error, CLR_INVALID_ARGUMENT, "%s: not a flat JSON object, at byte %lu", what,
               (unsigned long)(json.at - source.data));
}

static clr_status set_option(void *target, clr_str key, const clr_str *text, double number, clr_error *error) {
   options *o = (options *)target;
   if (equals(key, "precision") && text && equals(*text, "f32")) return CLR_OK;
   if (!text && equals(key, "dimension") && number >= 1 && number <= 65536 && number == (double)(uint32_t)number)
      o->dimension = (uint32_t)number;
   else if (!text && equals(key, "condition") && number >= 1 && number <= 3e38)
      o->condition = (float)number;
   else if (!text && equals(key, "noise") && number >= 0 && number <= 3e38)
      o->noise = (float)number;
   else if (!text && equals(key, "tolerance") && number >= 0 && number <= 3e38)
      o->tolerance = (float)number;
   else
      return fail(error, CLR_INVALID_ARGUMENT, "model options: `%.*s` is unknown or out of range",
                  (int)(key.size < 100 ? key.size : 100), key.data);
   return CLR_OK;
}

static clr_status set_optimizer(void *target, clr_str key, const clr_str *text, double number, clr_error *error) {
   (void)number;
   if (equals(key, "optimizer") && text && equals(*text, "gd"))
      *(int *)target = GD;
   else if (equals(key, "optimizer") && text && equals(*text, "sgd"))
      *(int *)target = SGD;
   else
      return fail(error, CLR_INVALID_ARGUMENT, "optimizer options: `%.*s` is unknown or not one of gd, sgd",
                  (int)(key.size < 100 ? key.size : 100), key.data);
   return CLR_OK;
}

static clr_status parse_optimizer(const clr_lane *lane, int *optimizer, clr_error *error) {
   clr_status status;
   *optimizer = -1;
   status = parse_object(lane->options, "optimizer options", set_optimizer, optimizer, error);
   if (status == CLR_OK && *optimizer < 0) return fail(error, CLR_INVALID_ARGUMENT, "optimizer options: no `optimizer`");
   return status;
}

/* ---- The model ----------------------------------------------------------- */

/* Uniform in [-1, 1), from the upper 24 bits of a word of Philox. */
static float uniform(uint64_t seed, uint32_t stream, uint64_t step, uint32_t index) {
   uint32_t counter[4], words[4];
   counter[0] = index / 4;
   counter[1] = (uint32_t)step;
   counter[2] = (uint32_t)(step >> 32);
   counter[3] = stream;
   clr_philox(counter, seed, words);
   return 2.0f * ((float)(words[index % 4] >> 8) * (1.0f / 16777216.0f)) - 1.0f;
}

/* Loss and accuracy of the weights on samples of a split (null: first, first + 1, ...), and the loss's gradient. */
static void measure(clr_session *session, uint32_t split, const uint32_t *samples, uint64_t first, uint64_t sample_count,
                    const float *weights, float *metrics) {
   const options *o = &session->options;
   const float *a = session->eigenvalues;
   float loss = 0.0f, count = (float)sample_count;
   uint32_t i, near = 0;
   memset(session->noise_sum, 0, o->dimension * sizeof(float));
   if (o->noise == 0.0f) {
      for (i = 0; i < o->dimension; i++) loss += 0.5f * a[i] * (weights[i] - 1.0f) * (weights[i] - 1.0f);
   } else {
      uint64_t s;
      for (s = 0; s < sample_count; s++) {
         float sample_loss = 0.0f;
         for (i = 0; i < o->dimension; i++) {
            float noise = o->noise * uniform(split, STREAM_NOISE, samples ? samples[s] : first + s, i);
            float distance = weights[i] - (1.0f + noise);
            session->noise_sum[i] += noise;
            sample_loss += 0.5f * a[i] * distance * distance;
         }
         loss += sample_loss;
      }
      loss /= count;
   }
   for (i = 0; i < o->dimension; i++) {
      session->gradient[i] = a[i] * (weights[i] - (1.0f + session->noise_sum[i] / count));
      near += fabsf(weights[i] - 1.0f) <= o->tolerance;
   }
   metrics[0] = loss;
   metrics[1] = (float)near / (float)o->dimension;
}

static void update(const clr_session *session, trial *lane, const float *hypers) {
   float lr = hypers[0], momentum = hypers[1], weight_decay = hypers[2];
   uint32_t i;
   for (i = 0; i < session->options.dimension; i++) {
      float g = session->gradient[i], *w = &lane->weights[i];
      if (lane->optimizer == GD) {
         *w -= lr * g;
      } else {
         float *v = &lane->velocity[i];
         *v = momentum * *v + lr * (g + weight_decay * *w);
         *w -= *v;
      }
   }
}

/* ---- Lanes ---------------------------------------------------------------- */

static void name_tensor(clr_tensor *tensor, const char *name, int32_t role, uint32_t dimension) {
   memset(tensor, 0, sizeof *tensor);
   tensor->struct_size = sizeof *tensor;
   tensor->name.data = name;
   tensor->name.size = strlen(name);
   tensor->role = role;
   tensor->rank = 1;
   tensor->shape[0] = dimension;
}

/* On an error the lane is as it was. */
static clr_status start_trial(const clr_session *session, trial *lane, const clr_lane *config, clr_error *error) {
   uint32_t dimension = session->options.dimension, i;
   trial fresh;
   clr_status status;
   memset(&fresh, 0, sizeof fresh);
   status = parse_optimizer(config, &fresh.optimizer, error);
   if (status != CLR_OK) return status;
   fresh.weights = (float *)malloc(dimension * sizeof(float));
   if (fresh.optimizer == SGD) fresh.velocity = (float *)calloc(dimension, sizeof(float));
   if (!fresh.weights || (fresh.optimizer == SGD && !fresh.velocity)) {
      free(fresh.weights);
      free(fresh.velocity);
      return fail(error, CLR_OUT_OF_MEMORY, "no memory for a lane");
   }
   for (i = 0; i < dimension; i++) fresh.weights[i] = uniform(config->init_seed, STREAM_INIT, 0, i);
   name_tensor(&fresh.tensors[0], "weights", CLR_WEIGHT, dimension);
   name_tensor(&fresh.tensors[1], "weights.velocity", CLR_OPTIMIZER_STATE, dimension);
   free(lane->weights);
   free(lane->velocity);
   *lane = fresh;
   return CLR_OK;
}

/* ---- The ABI ---------------------------------------------------------------- */

#define STR(text) {text, sizeof(text) - 1}

static const char options_schema[] =
   "{\"type\": \"object\","
   " \"description\": \"loss = 1/2 (w - 1)' A (w - 1) with A diagonal; accuracy = share of coordinates near their optimum\","
   " \"additionalProperties\": false, \"properties\": {"
   "\"dimension\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 65536, \"default\": 8},"
   "\"condition\": {\"type\": \"number\", \"minimum\": 1, \"default\": 10},"
   "\"noise\": {\"type\": \"number\", \"minimum\": 0, \"default\": 0},"
   "\"tolerance\": {\"type\": \"number\", \"minimum\": 0, \"default\": 0.1},"
   "\"precision\": {\"type\": \"string\", \"enum\": [\"f32\"], \"default\": \"f32\"}}}";

static const clr_str hypers[HYPERS] = {STR("lr"), STR("momentum"), STR("weight_decay")};
static const clr_str metrics[METRICS] = {STR("loss"), STR("accuracy"), STR("grad_norm")};
static const clr_str devices[1] = {STR("cpu")};
static const clr_model models[1] = {
   {sizeof(clr_model), STR("quadratic"), {options_schema, sizeof options_schema - 1},
    STR("{\"momentum\": 0.9, \"weight_decay\": 0}"), hypers, HYPERS, METRICS, metrics}};
#define NO_CONSTANTS STR("{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {}}")
static const clr_optimizer optimizers[2] = {
   {sizeof(clr_optimizer), STR("gd"), NO_CONSTANTS, hypers, 1},
   {sizeof(clr_optimizer), STR("sgd"), NO_CONSTANTS, hypers, HYPERS}};

static clr_status describe(clr_plugin *plugin, clr_error *error) {
   static const clr_plugin quadratic = {
      sizeof(clr_plugin), STR("quadratic_c"), STR("1.0.0"), models, optimizers, devices, 1, 2, 1, 1};
   size_t size;
   CHECK_SIZE(plugin);
   size = plugin->struct_size;
   *plugin = quadratic;
   plugin->struct_size = size;
   return CLR_OK;
}

static const clr_lane *lane_at(const clr_session_config *config, uint32_t lane) {
   return (const clr_lane *)((const char *)config->lanes + lane * config->lanes->struct_size);
}

static clr_status check_config(const clr_session_config *config, options *o, clr_error *error) {
   static const options defaults = {8, 10.0f, 0.0f, 0.1f};
   clr_status status;
   uint32_t lane;
   int optimizer;
   CHECK_SIZE(config);
   CHECK_SIZE(config->dataset);
   if (config->lane_count == 0 || config->batch_size == 0 || config->thread_count == 0)
      return fail(error, CLR_INVALID_ARGUMENT, "lanes, batch size and threads: none may be 0");
   CHECK_SIZE(config->lanes);
   if (!equals(config->device, "cpu")) return fail(error, CLR_UNSUPPORTED, "there is no device but cpu");
   if (!equals(config->model, "quadratic")) return fail(error, CLR_INVALID_ARGUMENT, "there is no model but quadratic");
   *o = defaults;
   status = parse_object(config->options, "model options", set_option, o, error);
   for (lane = 0; lane < config->lane_count && status == CLR_OK; lane++)
      status = parse_optimizer(lane_at(config, lane), &optimizer, error);
   return status;
}

static clr_status footprint(const clr_session_config *config, clr_footprint *footprint, clr_error *error) {
   options o;
   clr_status status;
   CHECK_SIZE(footprint);
   status = check_config(config, &o, error);
   if (status != CLR_OK) return status;
   footprint->bytes_shared = 3 * sizeof(float) * (uint64_t)o.dimension;
   footprint->bytes_per_lane = 2 * sizeof(float) * (uint64_t)o.dimension;
   memcpy(footprint->numerics, "cpu", 3);
   footprint->numerics_size = 3;
   return CLR_OK;
}

static void session_destroy(clr_session *session) {
   uint32_t lane;
   if (!session) return;
   for (lane = 0; session->lanes && lane < session->lane_count; lane++) {
      free(session->lanes[lane].weights);
      free(session->lanes[lane].velocity);
   }
   free(session->lanes);
   free(session->eigenvalues);
   free(session->noise_sum);
   free(session->gradient);
   free(session);
}

static clr_status session_create(const clr_session_config *config, clr_session **target, clr_error *error) {
   options o;
   clr_session *session;
   clr_status status = check_config(config, &o, error);
   uint32_t i;
   if (status != CLR_OK) return status;
   session = (clr_session *)calloc(1, sizeof *session);
   if (!session) return fail(error, CLR_OUT_OF_MEMORY, "no memory for a session");
   session->options = o;
   session->lane_count = config->lane_count;
   session->batch_size = config->batch_size;
   for (i = 0; i < CLR_SPLITS; i++) session->counts[i] = config->dataset->splits[i].count;
   session->eigenvalues = (float *)malloc(o.dimension * sizeof(float));
   session->noise_sum = (float *)malloc(o.dimension * sizeof(float));
   session->gradient = (float *)malloc(o.dimension * sizeof(float));
   session->lanes = (trial *)calloc(config->lane_count, sizeof(trial));
   if (!session->eigenvalues || !session->noise_sum || !session->gradient || !session->lanes) {
      session_destroy(session);
      return fail(error, CLR_OUT_OF_MEMORY, "no memory for a session");
   }
   for (i = 0; i < o.dimension; i++)
      session->eigenvalues[i] = 1.0f + (o.condition - 1.0f) * (float)i / (float)(o.dimension > 1 ? o.dimension - 1 : 1);
   for (i = 0; i < config->lane_count; i++) {
      status = start_trial(session, &session->lanes[i], lane_at(config, i), error);
      if (status != CLR_OK) {
         session_destroy(session);
         return status;
      }
   }
   *target = session;
   return CLR_OK;
}

static clr_status session_step(clr_session *session, clr_step *step, clr_error *error) {
   uint32_t K = session->lane_count, L, lane, s, i;
   CHECK_SIZE(step);
   L = step->sample_lane_count;
   if (L != 1 && L != K) return fail(error, CLR_INVALID_ARGUMENT, "sample_lane_count is neither 1 nor the number of lanes");
   for (lane = 0; lane < K; lane++) {
      if (step->lane_steps[lane] > step->step_count)
         return fail(error, CLR_INVALID_ARGUMENT, "lane %u has more steps than the table", lane);
      for (s = 0; s < step->lane_steps[lane]; s++) {
         uint32_t count = step->sample_counts[(size_t)s * L + (L == 1 ? 0 : lane)];
         if (count == 0 || count > session->batch_size)
            return fail(error, CLR_INVALID_ARGUMENT, "a batch of %u samples", count);
      }
   }
   for (lane = 0; lane < K; lane++) step->lane_steps_done[lane] = 0;
   for (lane = 0; lane < K; lane++) {
      trial *trial = &session->lanes[lane];
      for (s = 0; s < step->lane_steps[lane]; s++) {
         size_t batch = (size_t)s * L + (L == 1 ? 0 : lane), row = (size_t)s * K + lane;
         float *out = step->metrics + row * METRICS, norm = 0.0f;
         if (step->cancel && *step->cancel) return CLR_CANCELLED;
         measure(session, CLR_TRAIN, step->samples + batch * session->batch_size, 0, step->sample_counts[batch],
                 trial->weights, out);
         for (i = 0; i < session->options.dimension; i++) norm += session->gradient[i] * session->gradient[i];
         out[2] = sqrtf(norm);
         update(session, trial, step->hypers + row * HYPERS);
         step->lane_steps_done[lane]++;
      }
   }
   return CLR_OK;
}

static clr_status session_evaluate(clr_session *session, const clr_evaluate *evaluate, clr_error *error) {
   uint32_t lane;
   CHECK_SIZE(evaluate);
   if (evaluate->split >= CLR_SPLITS || evaluate->count == 0 || evaluate->count > session->counts[evaluate->split] ||
       evaluate->first > session->counts[evaluate->split] - evaluate->count)
      return fail(error, CLR_INVALID_ARGUMENT, "there are no such samples in split %u", evaluate->split);
   for (lane = 0; lane < session->lane_count; lane++) {
      float *out = evaluate->metrics + (size_t)lane * METRICS;
      if (!evaluate->active[lane]) continue;
      if (evaluate->cancel && *evaluate->cancel) return CLR_CANCELLED;
      measure(session, evaluate->split, NULL, evaluate->first, evaluate->count, session->lanes[lane].weights, out);
      out[2] = NAN;
   }
   return CLR_OK;
}

static clr_status session_lane_reset(clr_session *session, uint32_t lane, const clr_lane *trial, clr_error *error) {
   CHECK_SIZE(trial);
   if (lane >= session->lane_count) return fail(error, CLR_INVALID_ARGUMENT, "there is no lane %u", lane);
   return start_trial(session, &session->lanes[lane], trial, error);
}

/* ---- clr.state/1 -------------------------------------------------------------- */

static clr_status state_tensors(clr_session *session, uint32_t lane, const clr_tensor **tensors, uint32_t *count,
                                clr_error *error) {
   if (lane >= session->lane_count) return fail(error, CLR_INVALID_ARGUMENT, "there is no lane %u", lane);
   *tensors = session->lanes[lane].tensors;
   *count = session->lanes[lane].optimizer == GD ? 1 : 2;
   return CLR_OK;
}

static float *find_tensor(clr_session *session, uint32_t lane, uint32_t tensor) {
   if (lane >= session->lane_count || tensor > 1) return NULL;
   return tensor ? session->lanes[lane].velocity : session->lanes[lane].weights;
}

static clr_status state_save(clr_session *session, uint32_t lane, uint32_t tensor, float *values, clr_error *error) {
   float *from = find_tensor(session, lane, tensor);
   if (!from) return fail(error, CLR_INVALID_ARGUMENT, "there is no tensor %u in lane %u", tensor, lane);
   memcpy(values, from, session->options.dimension * sizeof(float));
   return CLR_OK;
}

static clr_status state_load(clr_session *session, uint32_t lane, uint32_t tensor, const float *values, clr_error *error) {
   float *to = find_tensor(session, lane, tensor);
   if (!to) return fail(error, CLR_INVALID_ARGUMENT, "there is no tensor %u in lane %u", tensor, lane);
   memcpy(to, values, session->options.dimension * sizeof(float));
   return CLR_OK;
}

static const void *extension(clr_str id) {
   static const clr_state_api state = {sizeof(clr_state_api), state_tensors, state_save, state_load};
   return equals(id, CLR_STATE_ID) ? &state : NULL;
}

const clr_api *clr_plugin_api(void) {
   static const clr_api api = {
      sizeof(clr_api),  CLR_ABI_MAJOR,      CLR_ABI_MINOR,   describe, footprint, session_create, session_step,
      session_evaluate, session_lane_reset, session_destroy, extension};
   return &api;
}
