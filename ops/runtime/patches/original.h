/* Gives patches access to the OneFlow functions that they override. */
#pragma once

/* Returns the function of OneFlow's library with this (mangled) name; aborts the process if it does not exist. */
void* insightface_original(const char* name);
