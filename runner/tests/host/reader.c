/* A plugin for one lane that does nothing but read its batches: loss is the mean of the pixels, accuracy 0. */
#include <stdlib.h>

#include "clr_image.h"
#include "clr_plugin.h"

#define STR(text) {text, sizeof(text) - 1}

struct clr_session {
   const clr_dataset *dataset;
   uint32_t           batch_size;
   size_t             image_size;
   float             *images;
   int32_t           *labels;
};

static clr_status describe(clr_plugin *plugin, clr_error *error) {
   static const clr_str hypers[] = {STR("lr")}, metrics[] = {STR("loss"), STR("accuracy")}, devices[] = {STR("cpu")};
   static const clr_model model = {sizeof(clr_model), STR("reader"), STR("{}"), STR("{}"), hypers, 1, 2, metrics};
   static const clr_optimizer optimizer = {sizeof(clr_optimizer), STR("none"), STR("{}"), hypers, 1};
   static const clr_plugin reader = {sizeof(clr_plugin), STR("reader"), STR("1"), &model, &optimizer, devices, 1, 1, 1, 1};
   (void)error;
   *plugin = reader;
   return CLR_OK;
}

static clr_status footprint(const clr_session_config *config, clr_footprint *footprint, clr_error *error) {
   (void)config, (void)footprint, (void)error;
   return CLR_OK;
}

static clr_status session_create(const clr_session_config *config, clr_session **target, clr_error *error) {
   clr_session *session = malloc(sizeof *session);
   uint32_t height, width;
   (void)error;
   clr_image_input_size(config->dataset, &height, &width);
   session->dataset = config->dataset;
   session->batch_size = config->batch_size;
   session->image_size = (size_t)height * width * config->dataset->channels;
   session->images = malloc(session->image_size * config->batch_size * sizeof(float));
   session->labels = malloc(config->batch_size * sizeof(int32_t));
   *target = session;
   return CLR_OK;
}

static clr_status read_batch(clr_session *session, uint32_t split, const uint32_t *samples, const uint32_t *epochs,
                             uint32_t count, float *metrics, clr_error *error) {
   clr_status status =
      clr_image_batch(session->dataset, split, samples, epochs, 0, count, session->images, session->labels, error);
   size_t i, size = session->image_size * count;
   metrics[0] = metrics[1] = 0;
   for (i = 0; i < size; i++) metrics[0] += session->images[i] / (float)size;
   return status;
}

static clr_status session_step(clr_session *session, clr_step *step, clr_error *error) {
   uint32_t s;
   for (s = 0; s < step->lane_steps[0]; s++, step->lane_steps_done[0]++) {
      size_t batch = (size_t)s * session->batch_size;
      clr_status status = read_batch(session, CLR_TRAIN, step->samples + batch, step->epochs + batch,
                                     step->sample_counts[s], step->metrics + 2 * s, error);
      if (status != CLR_OK) return status;
   }
   return CLR_OK;
}

static clr_status session_evaluate(clr_session *session, const clr_evaluate *evaluate, clr_error *error) {
   uint32_t first = (uint32_t)evaluate->first;
   return read_batch(session, evaluate->split, &first, NULL, 1, evaluate->metrics, error);
}

static clr_status session_lane_reset(clr_session *session, uint32_t lane, const clr_lane *trial, clr_error *error) {
   (void)session, (void)lane, (void)trial, (void)error;
   return CLR_OK;
}

static void session_destroy(clr_session *session) {
   if (!session) return;
   free(session->images);
   free(session->labels);
   free(session);
}

static const void *extension(clr_str id) {
   (void)id;
   return NULL;
}

const clr_api *clr_plugin_api(void) {
   static const clr_api api = {
      sizeof(clr_api),  CLR_ABI_MAJOR,      CLR_ABI_MINOR,   describe, footprint, session_create, session_step,
      session_evaluate, session_lane_reset, session_destroy, extension};
   return &api;
}
