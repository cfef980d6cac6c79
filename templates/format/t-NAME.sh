#!/bin/sh
# The conformance suite of formats, run on this plugin.
set -e
cd "$(dirname "$0")"
qtk plugin check ./qtk-format-@NAME@.so
