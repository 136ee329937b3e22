/* A plugin that breaks one rule of the ABI: which one, -DFAULT=n says. Compiled by the tests of the host. */
#include <string.h>

#include "clr_plugin.h"

enum {
   NONE, NO_TABLE, OTHER_MAJOR, SMALL_TABLE, NULL_FUNCTIONS, DESCRIBE_FAILS, BAD_TEXTS, BAD_NAMES, NULL_LIST, NULL_SESSION,
   TOO_MANY_STEPS, TOO_FEW_STEPS, CANCELS_UNASKED, UNKNOWN_STATUS, LONG_NUMERICS, BAD_TENSORS, DEVICE_FAILS, NOT_UTF8_ERROR
};

#define STR(text) {text, sizeof(text) - 1}

struct clr_session {
   uint32_t lane_count;
};

static clr_status fail(clr_error *error, clr_status status, const char *message) {
   error->message_size = (uint32_t)strlen(message);
   memcpy(error->message, message, error->message_size);
   return status;
}

static clr_status describe(clr_plugin *plugin, clr_error *error) {
   static const clr_str hypers[] = {STR("lr")};
   static const clr_str metrics[] = {STR("loss"), STR("accuracy")};
   static const clr_str devices[] = {STR("cpu")};
   static clr_model model = {sizeof(clr_model), STR("model"), STR("{}"), STR("{}"), hypers, 1, 2, metrics};
   static clr_optimizer optimizers[] = {{sizeof(clr_optimizer), STR("sgd"), STR("{}"), hypers, 1},
                                        {sizeof(clr_optimizer), STR("adam"), STR("{}"), hypers, 1}};
   static const clr_str many[] = {STR("lr"), STR("lr"), STR("a b")};
   clr_plugin faulty = {sizeof(clr_plugin), STR("faulty"), STR("1"), &model, optimizers, devices, 1, 2, 1, 1};
   if (FAULT == DESCRIBE_FAILS) return fail(error, CLR_INTERNAL, "no idea who I am");
   if (FAULT == NOT_UTF8_ERROR) return fail(error, CLR_INTERNAL, "broken \xFF text");
   if (FAULT == BAD_TEXTS) {
      clr_str name = STR("m\xFF"), schema = STR("{\"type\": "), defaults = STR("[1]");
      model.name = name;
      model.options_schema = schema;
      model.defaults = defaults;
      faulty.version.data = NULL;
   }
   if (FAULT == BAD_NAMES) {
      optimizers[0].name = optimizers[1].name;
      optimizers[1].hypers = many;
      optimizers[1].hyper_count = 3;
      model.metric_count = 1;
      faulty.device_count = 0;
   }
   if (FAULT == NULL_LIST) faulty.optimizers = NULL;
   *plugin = faulty;
   return CLR_OK;
}

static clr_status footprint(const clr_session_config *config, clr_footprint *footprint, clr_error *error) {
   (void)config, (void)error;
   footprint->bytes_per_lane = 4;
   memcpy(footprint->numerics, "cpu", 3);
   footprint->numerics_size = FAULT == LONG_NUMERICS ? 1000 : 3;
   return CLR_OK;
}

static clr_status session_create(const clr_session_config *config, clr_session **session, clr_error *error) {
   static clr_session only;
   (void)error;
   only.lane_count = config->lane_count;
   *session = FAULT == NULL_SESSION ? NULL : &only;
   return CLR_OK;
}

static clr_status session_step(clr_session *session, clr_step *step, clr_error *error) {
   uint32_t lane;
   if (FAULT == CANCELS_UNASKED) return CLR_CANCELLED;
   if (FAULT == UNKNOWN_STATUS) return fail(error, 77, "what now");
   if (FAULT == DEVICE_FAILS) return fail(error, CLR_DEVICE, "the device is on fire");
   for (lane = 0; lane < session->lane_count; lane++)
      step->lane_steps_done[lane] = step->lane_steps[lane] + (FAULT == TOO_MANY_STEPS) - (FAULT == TOO_FEW_STEPS);
   return CLR_OK;
}

static clr_status session_evaluate(clr_session *session, const clr_evaluate *evaluate, clr_error *error) {
   (void)session, (void)evaluate, (void)error;
   return CLR_OK;
}

static clr_status session_lane_reset(clr_session *session, uint32_t lane, const clr_lane *trial, clr_error *error) {
   (void)session, (void)lane, (void)trial, (void)error;
   return CLR_OK;
}

static void session_destroy(clr_session *session) { (void)session; }

static clr_status tensors(clr_session *session, uint32_t lane, const clr_tensor **tensors, uint32_t *count, clr_error *error) {
   static const clr_tensor bad = {sizeof(clr_tensor), STR("weight"), CLR_WEIGHT, 9, {1, 1, 1, 1, 1, 1}};
   (void)session, (void)lane, (void)error;
   *tensors = &bad;
   *count = 1;
   return CLR_OK;
}

static clr_status save(clr_session *session, uint32_t lane, uint32_t tensor, float *values, clr_error *error) {
   (void)session, (void)lane, (void)tensor, (void)values, (void)error;
   return CLR_OK;
}

static clr_status load(clr_session *session, uint32_t lane, uint32_t tensor, const float *values, clr_error *error) {
   (void)session, (void)lane, (void)tensor, (void)values, (void)error;
   return CLR_OK;
}

static const void *extension(clr_str id) {
   static const clr_state_api state = {sizeof(clr_state_api), tensors, save, load};
   (void)id;
   return FAULT == BAD_TENSORS ? &state : NULL;
}

const clr_api *clr_plugin_api(void) {
   static clr_api api = {
      sizeof(clr_api),  CLR_ABI_MAJOR,      CLR_ABI_MINOR,   describe, footprint, session_create, session_step,
      session_evaluate, session_lane_reset, session_destroy, extension};
   if (FAULT == OTHER_MAJOR) api.abi_major = 2, api.abi_minor = 3;
   if (FAULT == SMALL_TABLE) api.struct_size = 40;
   if (FAULT == NULL_FUNCTIONS) api.session_step = NULL, api.extension = NULL;
   return FAULT == NO_TABLE ? NULL : &api;
}
