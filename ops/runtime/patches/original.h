/* OneFlow's own functions, for those that stand in front of them. */
#pragma once

/* Returns the function of OneFlow's library with this (mangled) name; ends the process if there is none. */
void* insightface_original(const char* name);
