// Counts how often each kernel has run, so that tests can tell and Python can wait for one.
#pragma once

namespace insightface {

enum class Kernel {
  kConv,
  kConvDataGrad,
  kConvFilterGrad,
  kPrelu,
  kPreluGrad,
  kNormalization,
  kNormalizationGrad,
  kMatmul,
  kL2Normalize,
  kL2NormalizeGrad,
  kRowProducts,
  kRowProductsGrad,
  kBroadcastSub,
  kBroadcastDiv,
  kReduceMaxDeviceStage,
  kNetworkForward,
  kNetworkBackward,
  kNetworkInference,
  kCount,
};

// Counts a finished call.
void CountCall(Kernel kernel);

}  // namespace insightface
