//! Sans-IO protocols: RTMP and FLV.
