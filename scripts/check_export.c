/* SavedModel + raw image -> raw outputs, through TensorFlow's C API alone: no Python, no tfstyle.
 *
 *   check_export MODEL HEIGHT WIDTH IMAGE.raw INPUT:0 NAME=OUTPUT:0...
 *
 * IMAGE.raw holds float32 [1, HEIGHT, WIDTH, 3]. For each NAME=OUTPUT pair writes NAME.raw, float32, beside IMAGE.raw's
 * working directory. Tensor names come from the signature.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

#define MAX_OUTPUTS 64

static void stop_unless_ok(TF_Status *status, const char *what) {
    if (TF_GetCode(status) != TF_OK) {
        fprintf(stderr, "%s: %s\n", what, TF_Message(status));
        exit(1);
    }
}

static TF_Output find(TF_Graph *graph, const char *tensor) {
    char name[512];
    const char *colon = strrchr(tensor, ':');
    snprintf(name, sizeof name, "%.*s", (int)(colon - tensor), tensor);
    TF_Output output = {TF_GraphOperationByName(graph, name), atoi(colon + 1)};
    if (output.oper == NULL) {
        fprintf(stderr, "no operation %s\n", name);
        exit(1);
    }
    return output;
}

int main(int count, char **words) {
    if (count < 7 || count - 6 > MAX_OUTPUTS) {
        fprintf(stderr, "usage: %s MODEL HEIGHT WIDTH IMAGE.raw INPUT:0 NAME=OUTPUT:0...\n", words[0]);
        return 2;
    }
    TF_Status *status = TF_NewStatus();
    TF_Graph *graph = TF_NewGraph();
    TF_SessionOptions *options = TF_NewSessionOptions();
    const char *tags[] = {"serve"};
    TF_Session *session =
        TF_LoadSessionFromSavedModel(options, NULL, words[1], tags, 1, graph, NULL, status);
    stop_unless_ok(status, "load");

    const int64_t shape[] = {1, atoi(words[2]), atoi(words[3]), 3};
    TF_Tensor *image = TF_AllocateTensor(TF_FLOAT, shape, 4, 3 * shape[1] * shape[2] * sizeof(float));
    FILE *file = fopen(words[4], "rb");
    if (file == NULL || fread(TF_TensorData(image), 1, TF_TensorByteSize(image), file) != TF_TensorByteSize(image)) {
        fprintf(stderr, "cannot read %s\n", words[4]);
        return 1;
    }
    fclose(file);

    TF_Output input = find(graph, words[5]), outputs[MAX_OUTPUTS];
    TF_Tensor *results[MAX_OUTPUTS];
    const int wanted = count - 6;
    for (int i = 0; i < wanted; i++) outputs[i] = find(graph, strchr(words[6 + i], '=') + 1);
    TF_SessionRun(session, NULL, &input, &image, 1, outputs, results, wanted, NULL, 0, NULL, status);
    stop_unless_ok(status, "run");

    for (int i = 0; i < wanted; i++) {
        char path[512];
        snprintf(path, sizeof path, "%.*s.raw", (int)(strchr(words[6 + i], '=') - words[6 + i]), words[6 + i]);
        file = fopen(path, "wb");
        fwrite(TF_TensorData(results[i]), 1, TF_TensorByteSize(results[i]), file);
        fclose(file);
    }
    TF_CloseSession(session, status);
    TF_DeleteSession(session, status);
    return 0;
}
