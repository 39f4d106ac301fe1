// The part of glog that OneFlow's headers use, header only: liboneflow keeps its own glog symbols hidden, and the
// wheel lacks glog/log_severity.h. Failed checks print one line and abort, as glog does; all other logging is dropped.
#pragma once

#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace insightface {
namespace glog {

constexpr bool kINFO = false;
constexpr bool kWARNING = false;
constexpr bool kERROR = false;
constexpr bool kFATAL = true;

class Message {
 public:
  explicit Message(bool fatal) : fatal_(fatal) {}
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message() {
    if (fatal_) {
      std::cerr << text_.str() << std::endl;
      std::abort();
    }
  }
  std::ostream& stream() { return text_; }

 private:
  std::ostringstream text_;
  bool fatal_;
};

// Gives both branches of the conditional operator in the macros below the type void.
struct Voidify {
  void operator&(const std::ostream&) const {}
};

template<typename T>
T NotNull(const char* name, T&& pointer) {
  if (pointer == nullptr) { Message(true).stream() << name << " must not be null"; }
  return std::forward<T>(pointer);
}

}  // namespace glog
}  // namespace insightface

#define INSIGHTFACE_LOG_WHEN(condition, fatal) \
  !(condition) ? (void)0 : ::insightface::glog::Voidify() & ::insightface::glog::Message(fatal).stream()

#define LOG(severity) ::insightface::glog::Message(::insightface::glog::k##severity).stream()
#define LOG_IF(severity, condition) INSIGHTFACE_LOG_WHEN(condition, ::insightface::glog::k##severity)
#define VLOG(level) INSIGHTFACE_LOG_WHEN(false, false)
#define DLOG(severity) INSIGHTFACE_LOG_WHEN(false, false)

#define CHECK(condition) \
  INSIGHTFACE_LOG_WHEN(!(condition), true) << __FILE__ << ":" << __LINE__ << ": check failed: " #condition " "
#define CHECK_EQ(a, b) CHECK((a) == (b))
#define CHECK_NE(a, b) CHECK((a) != (b))
#define CHECK_LT(a, b) CHECK((a) < (b))
#define CHECK_LE(a, b) CHECK((a) <= (b))
#define CHECK_GT(a, b) CHECK((a) > (b))
#define CHECK_GE(a, b) CHECK((a) >= (b))
#define CHECK_STREQ(a, b) CHECK(std::string(a) == std::string(b))
#define CHECK_NOTNULL(pointer) ::insightface::glog::NotNull(#pointer, (pointer))
#define PCHECK(condition) CHECK(condition)

#define DCHECK(condition) \
  while (false) CHECK(condition)
#define DCHECK_EQ(a, b) DCHECK((a) == (b))
#define DCHECK_NE(a, b) DCHECK((a) != (b))
#define DCHECK_LT(a, b) DCHECK((a) < (b))
#define DCHECK_LE(a, b) DCHECK((a) <= (b))
#define DCHECK_GT(a, b) DCHECK((a) > (b))
#define DCHECK_GE(a, b) DCHECK((a) >= (b))
