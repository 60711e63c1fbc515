"""The descriptor pool of Dodona's own messages.

Two generated modules that define `inference.ModelInferRequest` cannot share a descriptor pool, and tritonclient
registers one in the default pool. Ours live in a pool of their own, so both import in one process and reflection
can still answer with the true name `inference.GRPCInferenceService`.
"""

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
