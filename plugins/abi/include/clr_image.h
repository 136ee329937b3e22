/*
 * clr_image.h - images as a model sees them, for plugins in C.
 *
 * clr_image_batch() fills a batch from a dataset, resident or streamed, and applies the dataset's transform
 * (clr_transform in clr_plugin.h), with the same bits as the Rust SDK; but random areas and lighting are an error. Include it in
 * one file or in many: all is static.
 */
#ifndef CLR_IMAGE_H
#define CLR_IMAGE_H

#include <stdlib.h>
#include <string.h>

#include "clr_plugin.h"

#if defined(__GNUC__)
#define CLR_IMAGE_UNUSED __attribute__((unused))
#else
#define CLR_IMAGE_UNUSED
#endif

/* Height and width of what the model sees. */
static CLR_IMAGE_UNUSED void clr_image_input_size(const clr_dataset *dataset, uint32_t *height, uint32_t *width) {
   const clr_transform *transform = dataset->transform;
   *height = transform && transform->crop_height ? transform->crop_height : dataset->height;
   *width = transform && transform->crop_width ? transform->crop_width : dataset->width;
}

/* Philox 4x32-10 (Salmon et al. 2011): four random words from a counter and a key. */
static CLR_IMAGE_UNUSED void clr_philox(const uint32_t counter[4], uint64_t seed, uint32_t words[4]) {
   uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
   int round;
   words[0] = counter[0], words[1] = counter[1], words[2] = counter[2], words[3] = counter[3];
   for (round = 0; round < 10; round++) {
      uint64_t product0 = (uint64_t)0xD2511F53u * words[0], product1 = (uint64_t)0xCD9E8D57u * words[2];
      words[0] = (uint32_t)(product1 >> 32) ^ words[1] ^ key0;
      words[1] = (uint32_t)product1;
      words[2] = (uint32_t)(product0 >> 32) ^ words[3] ^ key1;
      words[3] = (uint32_t)product0;
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
   }
}

/* One image. epoch is null in evaluation: no flip, and a central crop. */
static CLR_IMAGE_UNUSED void clr_image_place(const clr_dataset *dataset, const uint8_t *image, uint64_t data_seed,
                                             uint32_t sample, const uint32_t *epoch, float *output) {
   static const clr_transform nothing = {sizeof(clr_transform), NULL, 0, NULL, 0, 0, 0, 0, 0, 0, 0};
   const clr_transform *transform = dataset->transform ? dataset->transform : &nothing;
   uint32_t height = dataset->height, width = dataset->width, channels = dataset->channels, pad = transform->pad;
   uint32_t crop_height, crop_width, spare_height, spare_width, top, left, x, y, channel;
   int flip = 0;
   int pixel_mean = transform->mean_count == (uint64_t)height * width * channels;
   clr_image_input_size(dataset, &crop_height, &crop_width);
   spare_height = height + 2 * pad - crop_height;
   spare_width = width + 2 * pad - crop_width;
   if (epoch) {
      uint32_t counter[4] = {0, 0, 0, CLR_STREAM_AUGMENT}, words[4];
      counter[0] = sample;
      counter[1] = *epoch;
      clr_philox(counter, data_seed, words);
      flip = transform->flip && words[0] >> 31;
      top = (uint32_t)((uint64_t)words[1] * (spare_height + 1) >> 32);
      left = (uint32_t)((uint64_t)words[2] * (spare_width + 1) >> 32);
   } else {
      top = spare_height / 2;
      left = spare_width / 2;
   }
   for (y = 0; y < crop_height; y++) {
      for (x = 0; x < crop_width; x++, output += channels) {
         /* Below the padding these wrap around to numbers beyond the image. */
         uint32_t source_y = y + top - pad, source_x = x + left - pad;
         if (source_y >= height || source_x >= width) {
            for (channel = 0; channel < channels; channel++) output[channel] = 0.0f;
         } else {
            size_t offset = ((size_t)source_y * width + (flip ? width - 1 - source_x : source_x)) * channels;
            const float *mean = pixel_mean ? transform->mean + offset : transform->mean;
            for (channel = 0; channel < channels; channel++) {
               float pixel = image[offset + channel];
               if (transform->mean_count) pixel -= mean[channel];
               if (transform->scale_count) pixel *= transform->scale[transform->scale_count == 1 ? 0 : channel];
               output[channel] = pixel;
            }
         }
      }
   }
}

/*
 * Fills a batch: images is [sample_count][height][width][channels] with the sizes of clr_image_input_size(), labels is
 * [sample_count]. epochs is null in evaluation; it and data_seed key the random part of a training batch.
 */
static CLR_IMAGE_UNUSED clr_status clr_image_batch(const clr_dataset *dataset, uint32_t split, const uint32_t *samples,
                                                   const uint32_t *epochs, uint64_t data_seed, uint32_t sample_count,
                                                   float *images, int32_t *labels, clr_error *error) {
   size_t stored_size = (size_t)dataset->height * dataset->width * dataset->channels, input_size;
   uint8_t *streamed = NULL;
   uint32_t height, width, i;
   clr_image_input_size(dataset, &height, &width);
   input_size = (size_t)height * width * dataset->channels;
   if (epochs && dataset->transform && dataset->transform->struct_size >= sizeof(clr_transform) &&
       (dataset->transform->min_area != 0 || dataset->transform->lighting != 0)) {
      static const char message[] = "clr_image.h makes neither random areas of images nor lighting";
      memcpy(error->message, message, sizeof message - 1);
      error->message_size = sizeof message - 1;
      return CLR_UNSUPPORTED;
   }
   if (dataset->load) {
      clr_load load;
      clr_status status;
      streamed = (uint8_t *)malloc(stored_size * sample_count);
      if (!streamed) return CLR_OUT_OF_MEMORY;
      load.struct_size = sizeof load;
      load.split = split;
      load.sample_count = sample_count;
      load.samples = samples;
      load.epochs = epochs;
      load.data_seed = data_seed;
      load.images = streamed;
      load.labels = labels;
      status = dataset->load(dataset->load_context, &load, error);
      if (status != CLR_OK) {
         free(streamed);
         return status;
      }
   }
   for (i = 0; i < sample_count; i++) {
      const uint8_t *image = streamed ? streamed + i * stored_size : dataset->splits[split].images + samples[i] * stored_size;
      if (!streamed) labels[i] = dataset->splits[split].labels[samples[i]];
      clr_image_place(dataset, image, data_seed, samples[i], epochs ? &epochs[i] : NULL, images + i * input_size);
   }
   free(streamed);
   return CLR_OK;
}

#endif /* CLR_IMAGE_H */
