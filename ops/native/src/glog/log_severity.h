// OneFlow's wheel ships glog's public headers without this generated companion.
#pragma once

namespace google {
using LogSeverity = int;
}
