const explorer = {
 "families": {
  "mpo": {
   "title": "TT-matrix, matrix product operator",
   "builder": "mpo",
   "kind": "weight",
   "call": "tk.mpo({out}, {in_}, rank={rank})",
   "axes": {
    "rows": [
     64,
     256,
     768,
     4096
    ],
    "cols": [
     64,
     256,
     768,
     4096
    ],
    "digits": [
     2,
     3,
     4
    ],
    "rank": [
     1,
     2,
     4,
     8,
     16,
     32
    ]
   },
   "pictured": [
    "digits"
   ],
   "drawn": {},
   "formula": "sum over k of r(k) out(k) in(k) r(k+1).",
   "holds": "A Kronecker product at rank 1, and so the identity. A sum of terms on single sites has rank 2, a chain with terms on neighbours has a small rank too.",
   "limits": "At a low rank it does not move digits far. Exchanging the first digit with the last needs the square of their size at every bond.",
   "anchor": "mpo-tt-matrix-matrix-product-operator"
  },
  "tt": {
   "title": "tensor train",
   "builder": "tt",
   "kind": "weight",
   "call": "tk.tt({chain}, rank={rank})",
   "axes": {
    "rows": [
     64,
     256,
     768,
     4096
    ],
    "cols": [
     64,
     256,
     768,
     4096
    ],
    "digits": [
     2,
     3,
     4
    ],
    "rank": [
     1,
     2,
     4,
     8,
     16,
     32
    ]
   },
   "pictured": [
    "digits"
   ],
   "drawn": {},
   "formula": "sum over k of r(k) n(k) r(k+1), with r(0) = r(n) = 1 left out.",
   "holds": "Every array in which the first k axes and the other axes have a matrix of rank at most r(k), for each k. A sum of functions of one axis each has rank 2.",
   "limits": "At a low rank it does not hold a strong tie between the first axes and the last. An identity between two halves needs the full rank.",
   "anchor": "tt-tensor-train"
  },
  "ring": {
   "title": "tensor ring, matrix product state with periodic ends",
   "builder": "ring",
   "kind": "weight",
   "call": "tk.ring({chain}, rank={rank})",
   "axes": {
    "rows": [
     64,
     256,
     768,
     4096
    ],
    "cols": [
     64,
     256,
     768,
     4096
    ],
    "digits": [
     2,
     3,
     4
    ],
    "rank": [
     1,
     2,
     4,
     8,
     16,
     32
    ]
   },
   "pictured": [
    "digits"
   ],
   "drawn": {},
   "formula": "sum over k of r(k) n(k) r(k+1), with r(n) = r(0).",
   "holds": "Every tensor train, with one bond of size 1. What goes round in a circle, at a smaller rank than the train's: a ring of rank r may need a train of rank r squared.",
   "limits": "A run of axes and the other axes have a matrix of rank at most r squared. A best approximation need not exist, for the set of rings is not closed.",
   "anchor": "ring-tensor-ring-matrix-product-state-with-periodic-ends"
  },
  "tucker": {
   "title": "Tucker decomposition",
   "builder": "tucker",
   "kind": "weight",
   "call": "tk.tucker({chain}, rank={rank})",
   "axes": {
    "rows": [
     64,
     256,
     768,
     4096
    ],
    "cols": [
     64,
     256,
     768,
     4096
    ],
    "digits": [
     2,
     3,
     4
    ],
    "rank": [
     1,
     2,
     4,
     8,
     16,
     32
    ]
   },
   "pictured": [
    "digits"
   ],
   "drawn": {},
   "formula": "prod r(k) + sum n(k) r(k).",
   "holds": "Every array whose unfolding along axis k has rank at most r(k), for each axis.",
   "limits": "The core has a size for every axis, so its count grows exponentially with their number.",
   "anchor": "tucker-tucker-decomposition"
  },
  "cp": {
   "title": "canonical polyadic decomposition",
   "builder": "cp",
   "kind": "weight",
   "call": "tk.cp({chain}, rank={rank})",
   "axes": {
    "rows": [
     64,
     256,
     768,
     4096
    ],
    "cols": [
     64,
     256,
     768,
     4096
    ],
    "digits": [
     2,
     3,
     4
    ],
    "rank": [
     1,
     2,
     4,
     8,
     16,
     32
    ]
   },
   "pictured": [
    "digits"
   ],
   "drawn": {},
   "formula": "r sum n(k).",
   "holds": "Every sum of r products of vectors, one vector an axis. A diagonal of n entries has rank n.",
   "limits": "Below rank n it does not hold the identity of size n: rank 1 holds one entry of it. With three axes or more the best approximation need not exist.",
   "anchor": "cp-canonical-polyadic-decomposition"
  },
  "block_term": {
   "title": "block term decomposition: a sum of Tucker terms",
   "builder": "block_term",
   "kind": "weight",
   "call": "tk.block_term({chain}, rank={rank}, terms=2)",
   "axes": {
    "rows": [
     64,
     256,
     768,
     4096
    ],
    "cols": [
     64,
     256,
     768,
     4096
    ],
    "digits": [
     2,
     3,
     4
    ],
    "rank": [
     1,
     2,
     4,
     8,
     16,
     32
    ]
   },
   "pictured": [
    "digits"
   ],
   "drawn": {},
   "formula": "terms x (prod r(k) + sum n(k) r(k)).",
   "holds": "Sums of Tucker decompositions of the same ranks. One term is `tucker`, rank 1 is `cp`.",
   "limits": "The unfolding along axis k has rank at most terms times r(k).",
   "anchor": "block_term-block-term-decomposition-a-sum-of-tucker-terms"
  },
  "low_rank": {
   "title": "product of two matrices",
   "builder": "low_rank",
   "kind": "weight",
   "call": "tk.low_rank(({rows}, {cols}), rank={rank})",
   "axes": {
    "rows": [
     64,
     256,
     768,
     4096
    ],
    "cols": [
     64,
     256,
     768,
     4096
    ],
    "rank": [
     1,
     2,
     4,
     8,
     16,
     32
    ]
   },
   "pictured": [],
   "drawn": {},
   "formula": "r (n(0) + n(1) n(2) ...).",
   "holds": "Every matrix of rank at most r. The truncated singular value decomposition is the best one (Eckart and Young 1936).",
   "limits": "It does not hold the identity, or another matrix with equal singular values: rank r of n keeps r/n of the squared norm.",
   "anchor": "low_rank-product-of-two-matrices"
  },
  "tree": {
   "title": "tree tensor network, hierarchical Tucker",
   "builder": "tree",
   "kind": "weight",
   "call": "tk.tree({turns}, rank={rank})",
   "axes": {
    "rows": [
     64,
     256,
     768,
     4096
    ],
    "cols": [
     64,
     256,
     768,
     4096
    ],
    "digits": [
     2,
     3,
     4
    ],
    "rank": [
     1,
     2,
     4,
     8,
     16,
     32
    ]
   },
   "pictured": [
    "digits"
   ],
   "drawn": {},
   "formula": "sum over nodes of (product of the sizes below) x (size above, none at the root).",
   "holds": "Every array in which the axes below each node and all other axes have a matrix of rank at most r.",
   "limits": "What ties leaves of different branches passes through the root. Two pairs of size 2 over the middle of four sites need rank 4.",
   "anchor": "tree-tree-tensor-network-hierarchical-tucker"
  },
  "augmented_tree": {
   "title": "tree with a row of disentanglers",
   "builder": "augmented_tree",
   "kind": "weight",
   "call": "tk.augmented_tree({turns}, rank={rank})",
   "axes": {
    "rows": [
     64,
     256,
     768,
     4096
    ],
    "cols": [
     64,
     256,
     768,
     4096
    ],
    "digits": [
     2,
     3,
     4
    ],
    "rank": [
     1,
     2,
     4,
     8,
     16,
     32
    ]
   },
   "pictured": [
    "digits"
   ],
   "drawn": {},
   "formula": "those of the tree, and (n(a) n(b))^2 for each disentangler.",
   "holds": "Every tree of its rank, where the disentanglers are the identity. A tie between neighbours of different branches, which the tree would carry through its root.",
   "limits": "Beyond the neighbours at a border it is a tree: other ties between branches pass through the root.",
   "anchor": "augmented_tree-tree-with-a-row-of-disentanglers"
  },
  "mera": {
   "title": "multiscale entanglement renormalisation ansatz",
   "builder": "mera",
   "kind": "weight",
   "call": "tk.mera({turns}, rank={rank})",
   "axes": {
    "rows": [
     64,
     256,
     768,
     4096
    ],
    "cols": [
     64,
     256,
     768,
     4096
    ],
    "digits": [
     2,
     3,
     4
    ],
    "rank": [
     1,
     2,
     4,
     8,
     16,
     32
    ]
   },
   "pictured": [
    "digits"
   ],
   "drawn": {},
   "formula": "sum of (n(a) n(b))^2 over disentanglers, n(a) n(b) m over isometries, n(a) n(b) at the top.",
   "holds": "Every binary tree of its rank, where the disentanglers are the identity. With disentanglers at all levels, the entropy of a block may grow with the logarithm of its length.",
   "limits": "The bonds and disentanglers over a cut bound its rank there. It has no decomposition in closed form, and is fitted.",
   "anchor": "mera-multiscale-entanglement-renormalisation-ansatz"
  },
  "kronecker": {
   "title": "sum of Kronecker products",
   "builder": "kronecker",
   "kind": "weight",
   "call": "tk.kronecker({out}, {in_}, rank={rank})",
   "axes": {
    "rows": [
     64,
     256,
     768,
     4096
    ],
    "cols": [
     64,
     256,
     768,
     4096
    ],
    "digits": [
     2,
     3,
     4
    ],
    "rank": [
     1,
     2,
     4,
     8,
     16,
     32
    ]
   },
   "pictured": [
    "digits"
   ],
   "drawn": {},
   "formula": "rank x sum over k of out(k) in(k), or f(k) (out(k) + in(k)) for a factor of low rank.",
   "holds": "Kronecker products at rank 1: the Hadamard transform, the identity. Two factors hold every matrix at rank min(out(0) in(0), out(1) in(1)).",
   "limits": "At a low rank it does not exchange two digits: that needs the square of their size.",
   "anchor": "kronecker-sum-of-kronecker-products"
  },
  "btt": {
   "title": "block tensor train",
   "builder": "btt",
   "kind": "weight",
   "call": "tk.btt({out}, {in_}, rank={rank})",
   "axes": {
    "rows": [
     64,
     256,
     768,
     4096
    ],
    "cols": [
     64,
     256,
     768,
     4096
    ],
    "digits": [
     2,
     3,
     4
    ],
    "rank": [
     1,
     2,
     4,
     8,
     16,
     32
    ]
   },
   "pictured": [
    "digits"
   ],
   "drawn": {},
   "formula": "sum over k of r(k) r(k+1) out(0) ... out(k) in(k) in(k+1) ..., with r(0) = r(n) = 1.",
   "holds": "Every TT-matrix of its ranks and every Monarch matrix. Two digits at rank sqrt(n) hold every matrix of n x n.",
   "limits": "With two digits each block (one value of o0, one of i1) has rank at most r.",
   "anchor": "btt-block-tensor-train"
  },
  "monarch": {
   "title": "Monarch matrix: block-diagonal, permutation, block-diagonal",
   "builder": "monarch",
   "kind": "weight",
   "call": "tk.monarch({out}, {in_})",
   "axes": {
    "rows": [
     64,
     256,
     768,
     4096
    ],
    "cols": [
     64,
     256,
     768,
     4096
    ],
    "digits": [
     2,
     3,
     4
    ]
   },
   "pictured": [
    "digits"
   ],
   "drawn": {},
   "formula": "sum over k of out(0) ... out(k) in(k) in(k+1) ...",
   "holds": "Products of two block-diagonal matrices with a permutation between them, as the Fourier transform with its digits reversed.",
   "limits": "With two digits each block (one value of o0, one of i1) has rank 1.",
   "anchor": "monarch-monarch-matrix-block-diagonal-permutation-block-diagonal"
  },
  "butterfly": {
   "title": "butterfly matrix",
   "builder": "butterfly",
   "kind": "weight",
   "call": "tk.butterfly({rows}, {cols}, passes={passes})",
   "axes": {
    "rows": [
     64,
     256,
     768,
     4096
    ],
    "cols": [
     64,
     256,
     768,
     4096
    ],
    "passes": [
     1,
     2
    ]
   },
   "pictured": [
    "passes"
   ],
   "drawn": {
    "rows": 8,
    "cols": 8
   },
   "formula": "those of `monarch` of the same digits, 2 n log2 n for n x n with n a power of two. Each further pass has prod(out) out(k) for every digit but the first that it would meet.",
   "holds": "The Fourier and Hadamard transforms, with products by diagonal matrices. Two passes on digits of size 2 hold every permutation.",
   "limits": "One pass does not hold every permutation: one that exchanges the first two digits needs a second pass.",
   "anchor": "butterfly-butterfly-matrix"
  },
  "adtn": {
   "title": "brick wall as a weight (automatically differentiable tensor network)",
   "builder": "adtn",
   "kind": "weight",
   "call": "tk.adtn(({rows}, {cols}), depth={depth})",
   "axes": {
    "rows": [
     64,
     256,
     768,
     4096
    ],
    "cols": [
     64,
     256,
     768,
     4096
    ],
    "depth": [
     1,
     2,
     3,
     4,
     5
    ]
   },
   "pictured": [
    "depth"
   ],
   "drawn": {
    "rows": 16,
    "cols": 16
   },
   "formula": "as for `brick_wall`, plus 1 with `scale`.",
   "holds": "A weight of any shape, padded to sites of size 2: 424 parameters stand for two layers of VGG-16 in its paper.",
   "limits": "At depth 1 it is a brick wall without activation: its rank over any cut of the chain of sites is at most 4. Interleaved, rows against columns is no such cut.",
   "anchor": "adtn-brick-wall-as-a-weight-automatically-differentiable-tensor-network"
  },
  "circuit": {
   "title": "columns of gates on any sites",
   "builder": "circuit",
   "kind": "weight",
   "call": "tk.circuit({chain}, {columns}, 'sin', start=tk.mpo({out}, {in_}, {rank}))",
   "axes": {
    "rows": [
     64,
     256,
     768,
     4096
    ],
    "cols": [
     64,
     256,
     768,
     4096
    ],
    "digits": [
     2,
     3,
     4
    ],
    "rank": [
     1,
     2,
     4,
     8
    ],
    "depth": [
     2,
     3,
     4
    ]
   },
   "pictured": [
    "digits",
    "depth"
   ],
   "drawn": {},
   "formula": "those of the start, and for each gate the square of the product of its sites' sizes.",
   "holds": "Its start, up to the bend of the activation (`tk.init.lifted`). With an activation, matrices of a higher rank than its start.",
   "limits": "An activation acts on every entry, so every entry is computed, slice by slice at best. For most activations nothing exact is cheaper.",
   "anchor": "circuit-columns-of-gates-on-any-sites"
  },
  "mps": {
   "title": "matrix product state",
   "builder": "mps",
   "kind": "state",
   "call": "tk.mps(({dim},) * {sites}, rank={rank})",
   "axes": {
    "sites": [
     4,
     6,
     8,
     10,
     12
    ],
    "dim": [
     2,
     3,
     4
    ],
    "rank": [
     1,
     2,
     4,
     8,
     16,
     32
    ]
   },
   "pictured": [
    "sites"
   ],
   "drawn": {},
   "formula": "sum over k of r(k) n(k) r(k+1), with r(0) = r(n) = 1 left out.",
   "holds": "Every state with at most r(k) Schmidt coefficients over cut k. Product states have rank 1, the GHZ state has rank 2.",
   "limits": "The entropy over a cut is at most log r(k). Entangled pairs with one half on either side need a rank that grows exponentially with the number of pairs.",
   "anchor": "mps-matrix-product-state"
  },
  "tree_state": {
   "title": "tree tensor network, hierarchical Tucker",
   "builder": "tree",
   "kind": "state",
   "call": "tk.tree(({dim},) * {sites}, rank={rank})",
   "axes": {
    "sites": [
     4,
     6,
     8,
     10,
     12
    ],
    "dim": [
     2,
     3,
     4
    ],
    "rank": [
     1,
     2,
     4,
     8,
     16,
     32
    ]
   },
   "pictured": [
    "sites"
   ],
   "drawn": {},
   "formula": "sum over nodes of (product of the sizes below) x (size above, none at the root).",
   "holds": "Every array in which the axes below each node and all other axes have a matrix of rank at most r.",
   "limits": "What ties leaves of different branches passes through the root. Two pairs of size 2 over the middle of four sites need rank 4.",
   "anchor": "tree-tree-tensor-network-hierarchical-tucker"
  },
  "mera_state": {
   "title": "multiscale entanglement renormalisation ansatz",
   "builder": "mera",
   "kind": "state",
   "call": "tk.mera(({dim},) * {sites}, rank={rank})",
   "axes": {
    "sites": [
     4,
     6,
     8,
     10,
     12
    ],
    "dim": [
     2,
     3,
     4
    ],
    "rank": [
     1,
     2,
     4,
     8,
     16,
     32
    ]
   },
   "pictured": [
    "sites"
   ],
   "drawn": {},
   "formula": "sum of (n(a) n(b))^2 over disentanglers, n(a) n(b) m over isometries, n(a) n(b) at the top.",
   "holds": "Every binary tree of its rank, where the disentanglers are the identity. With disentanglers at all levels, the entropy of a block may grow with the logarithm of its length.",
   "limits": "The bonds and disentanglers over a cut bound its rank there. It has no decomposition in closed form, and is fitted.",
   "anchor": "mera-multiscale-entanglement-renormalisation-ansatz"
  },
  "peps": {
   "title": "projected entangled pair state",
   "builder": "peps",
   "kind": "state",
   "call": "tk.peps(2, {half}, dim={dim}, rank={rank})",
   "axes": {
    "sites": [
     4,
     6,
     8,
     10,
     12
    ],
    "dim": [
     2,
     3,
     4
    ],
    "rank": [
     1,
     2,
     3,
     4
    ]
   },
   "pictured": [
    "sites"
   ],
   "drawn": {},
   "formula": "sum over sites of dim x rank^(number of neighbours).",
   "holds": "Many states with an area law in the plane: the entropy of a region is at most log rank for each bond that leaves it. The Boltzmann weights of the Ising model have rank 2 at every temperature.",
   "limits": "An exact contraction of a large lattice is out of reach: its cost grows exponentially with the shorter side.",
   "anchor": "peps-projected-entangled-pair-state"
  },
  "brick_wall": {
   "title": "brick wall of two-site gates",
   "builder": "brick_wall",
   "kind": "state",
   "call": "tk.brick_wall({sites}, {dim}, depth={depth}, activation='tanh')",
   "axes": {
    "sites": [
     4,
     6,
     8,
     10,
     12
    ],
    "dim": [
     2,
     3,
     4
    ],
    "depth": [
     1,
     2,
     3,
     4,
     5
    ]
   },
   "pictured": [
    "sites",
    "depth"
   ],
   "drawn": {},
   "formula": "with Q sites of size d, open ends, none tied, a block has d^4 (Q-1). The first block has d^2 floor(Q/2) + d^4 (Q-1-floor(Q/2)) with constant start (`full=False`). Learned vectors add d Q. For d = 2, depth 1: Q = 21 has 200, Q = 24 has 224 (arXiv 2305.06058: 424 for VGG-16's two layers).",
   "holds": "What a circuit of its depth makes of a product state. With an activation between blocks it reaches full rank with few gates.",
   "limits": "At depth 1 with sites of size 2 the rank is at most 2 over a cut within an even pair, and at most 4 over any other. Periodic ends make each up to 4 times as large.",
   "anchor": "brick_wall-brick-wall-of-two-site-gates"
  }
 },
 "parts": {
  "out": {
   "of": [
    "rows",
    "digits"
   ],
   "values": {
    "64,2": "(8, 8)",
    "64,3": "(4, 4, 4)",
    "64,4": "(4, 4, 2, 2)",
    "256,2": "(16, 16)",
    "256,3": "(8, 8, 4)",
    "256,4": "(4, 4, 4, 4)",
    "768,2": "(32, 24)",
    "768,3": "(12, 8, 8)",
    "768,4": "(8, 6, 4, 4)",
    "4096,2": "(64, 64)",
    "4096,3": "(16, 16, 16)",
    "4096,4": "(8, 8, 8, 8)"
   }
  },
  "in_": {
   "of": [
    "cols",
    "digits"
   ],
   "values": {
    "64,2": "(8, 8)",
    "64,3": "(4, 4, 4)",
    "64,4": "(4, 4, 2, 2)",
    "256,2": "(16, 16)",
    "256,3": "(8, 8, 4)",
    "256,4": "(4, 4, 4, 4)",
    "768,2": "(32, 24)",
    "768,3": "(12, 8, 8)",
    "768,4": "(8, 6, 4, 4)",
    "4096,2": "(64, 64)",
    "4096,3": "(16, 16, 16)",
    "4096,4": "(8, 8, 8, 8)"
   }
  },
  "chain": {
   "of": [
    "rows",
    "cols",
    "digits"
   ],
   "values": {
    "64,64,2": "(8, 8, 8, 8)",
    "64,64,3": "(4, 4, 4, 4, 4, 4)",
    "64,64,4": "(4, 4, 2, 2, 4, 4, 2, 2)",
    "64,256,2": "(8, 8, 16, 16)",
    "64,256,3": "(4, 4, 4, 8, 8, 4)",
    "64,256,4": "(4, 4, 2, 2, 4, 4, 4, 4)",
    "64,768,2": "(8, 8, 32, 24)",
    "64,768,3": "(4, 4, 4, 12, 8, 8)",
    "64,768,4": "(4, 4, 2, 2, 8, 6, 4, 4)",
    "64,4096,2": "(8, 8, 64, 64)",
    "64,4096,3": "(4, 4, 4, 16, 16, 16)",
    "64,4096,4": "(4, 4, 2, 2, 8, 8, 8, 8)",
    "256,64,2": "(16, 16, 8, 8)",
    "256,64,3": "(8, 8, 4, 4, 4, 4)",
    "256,64,4": "(4, 4, 4, 4, 4, 4, 2, 2)",
    "256,256,2": "(16, 16, 16, 16)",
    "256,256,3": "(8, 8, 4, 8, 8, 4)",
    "256,256,4": "(4, 4, 4, 4, 4, 4, 4, 4)",
    "256,768,2": "(16, 16, 32, 24)",
    "256,768,3": "(8, 8, 4, 12, 8, 8)",
    "256,768,4": "(4, 4, 4, 4, 8, 6, 4, 4)",
    "256,4096,2": "(16, 16, 64, 64)",
    "256,4096,3": "(8, 8, 4, 16, 16, 16)",
    "256,4096,4": "(4, 4, 4, 4, 8, 8, 8, 8)",
    "768,64,2": "(32, 24, 8, 8)",
    "768,64,3": "(12, 8, 8, 4, 4, 4)",
    "768,64,4": "(8, 6, 4, 4, 4, 4, 2, 2)",
    "768,256,2": "(32, 24, 16, 16)",
    "768,256,3": "(12, 8, 8, 8, 8, 4)",
    "768,256,4": "(8, 6, 4, 4, 4, 4, 4, 4)",
    "768,768,2": "(32, 24, 32, 24)",
    "768,768,3": "(12, 8, 8, 12, 8, 8)",
    "768,768,4": "(8, 6, 4, 4, 8, 6, 4, 4)",
    "768,4096,2": "(32, 24, 64, 64)",
    "768,4096,3": "(12, 8, 8, 16, 16, 16)",
    "768,4096,4": "(8, 6, 4, 4, 8, 8, 8, 8)",
    "4096,64,2": "(64, 64, 8, 8)",
    "4096,64,3": "(16, 16, 16, 4, 4, 4)",
    "4096,64,4": "(8, 8, 8, 8, 4, 4, 2, 2)",
    "4096,256,2": "(64, 64, 16, 16)",
    "4096,256,3": "(16, 16, 16, 8, 8, 4)",
    "4096,256,4": "(8, 8, 8, 8, 4, 4, 4, 4)",
    "4096,768,2": "(64, 64, 32, 24)",
    "4096,768,3": "(16, 16, 16, 12, 8, 8)",
    "4096,768,4": "(8, 8, 8, 8, 8, 6, 4, 4)",
    "4096,4096,2": "(64, 64, 64, 64)",
    "4096,4096,3": "(16, 16, 16, 16, 16, 16)",
    "4096,4096,4": "(8, 8, 8, 8, 8, 8, 8, 8)"
   }
  },
  "turns": {
   "of": [
    "rows",
    "cols",
    "digits"
   ],
   "values": {
    "64,64,2": "(8, 8, 8, 8)",
    "64,64,3": "(4, 4, 4, 4, 4, 4)",
    "64,64,4": "(4, 4, 4, 4, 2, 2, 2, 2)",
    "64,256,2": "(8, 16, 8, 16)",
    "64,256,3": "(4, 8, 4, 8, 4, 4)",
    "64,256,4": "(4, 4, 4, 4, 2, 4, 2, 4)",
    "64,768,2": "(8, 32, 8, 24)",
    "64,768,3": "(4, 12, 4, 8, 4, 8)",
    "64,768,4": "(4, 8, 4, 6, 2, 4, 2, 4)",
    "64,4096,2": "(8, 64, 8, 64)",
    "64,4096,3": "(4, 16, 4, 16, 4, 16)",
    "64,4096,4": "(4, 8, 4, 8, 2, 8, 2, 8)",
    "256,64,2": "(16, 8, 16, 8)",
    "256,64,3": "(8, 4, 8, 4, 4, 4)",
    "256,64,4": "(4, 4, 4, 4, 4, 2, 4, 2)",
    "256,256,2": "(16, 16, 16, 16)",
    "256,256,3": "(8, 8, 8, 8, 4, 4)",
    "256,256,4": "(4, 4, 4, 4, 4, 4, 4, 4)",
    "256,768,2": "(16, 32, 16, 24)",
    "256,768,3": "(8, 12, 8, 8, 4, 8)",
    "256,768,4": "(4, 8, 4, 6, 4, 4, 4, 4)",
    "256,4096,2": "(16, 64, 16, 64)",
    "256,4096,3": "(8, 16, 8, 16, 4, 16)",
    "256,4096,4": "(4, 8, 4, 8, 4, 8, 4, 8)",
    "768,64,2": "(32, 8, 24, 8)",
    "768,64,3": "(12, 4, 8, 4, 8, 4)",
    "768,64,4": "(8, 4, 6, 4, 4, 2, 4, 2)",
    "768,256,2": "(32, 16, 24, 16)",
    "768,256,3": "(12, 8, 8, 8, 8, 4)",
    "768,256,4": "(8, 4, 6, 4, 4, 4, 4, 4)",
    "768,768,2": "(32, 32, 24, 24)",
    "768,768,3": "(12, 12, 8, 8, 8, 8)",
    "768,768,4": "(8, 8, 6, 6, 4, 4, 4, 4)",
    "768,4096,2": "(32, 64, 24, 64)",
    "768,4096,3": "(12, 16, 8, 16, 8, 16)",
    "768,4096,4": "(8, 8, 6, 8, 4, 8, 4, 8)",
    "4096,64,2": "(64, 8, 64, 8)",
    "4096,64,3": "(16, 4, 16, 4, 16, 4)",
    "4096,64,4": "(8, 4, 8, 4, 8, 2, 8, 2)",
    "4096,256,2": "(64, 16, 64, 16)",
    "4096,256,3": "(16, 8, 16, 8, 16, 4)",
    "4096,256,4": "(8, 4, 8, 4, 8, 4, 8, 4)",
    "4096,768,2": "(64, 32, 64, 24)",
    "4096,768,3": "(16, 12, 16, 8, 16, 8)",
    "4096,768,4": "(8, 8, 8, 6, 8, 4, 8, 4)",
    "4096,4096,2": "(64, 64, 64, 64)",
    "4096,4096,3": "(16, 16, 16, 16, 16, 16)",
    "4096,4096,4": "(8, 8, 8, 8, 8, 8, 8, 8)"
   }
  },
  "columns": {
   "of": [
    "digits",
    "depth"
   ],
   "values": {
    "2,2": "[[(0,), (1,)]]",
    "2,3": "[[(0,), (1,)], [(2,), (3,)]]",
    "2,4": "[[(0,), (1,)], [(2,), (3,)], [(0,), (1,)]]",
    "3,2": "[[(0,), (1,), (2,)]]",
    "3,3": "[[(0,), (1,), (2,)], [(3,), (4,), (5,)]]",
    "3,4": "[[(0,), (1,), (2,)], [(3,), (4,), (5,)], [(0,), (1,), (2,)]]",
    "4,2": "[[(0,), (1,), (2,), (3,)]]",
    "4,3": "[[(0,), (1,), (2,), (3,)], [(4,), (5,), (6,), (7,)]]",
    "4,4": "[[(0,), (1,), (2,), (3,)], [(4,), (5,), (6,), (7,)], [(0,), (1,), (2,), (3,)]]"
   }
  },
  "half": {
   "of": [
    "sites"
   ],
   "values": {
    "4": "2",
    "6": "3",
    "8": "4",
    "10": "5",
    "12": "6"
   }
  }
 },
 "batches": [
  1,
  32,
  1024
 ],
 "dense": {
  "64,64": [
   8192,
   262144,
   8388608
  ],
  "64,256": [
   32768,
   1048576,
   33554432
  ],
  "64,768": [
   98304,
   3145728,
   100663296
  ],
  "64,4096": [
   524288,
   16777216,
   536870912
  ],
  "256,64": [
   32768,
   1048576,
   33554432
  ],
  "256,256": [
   131072,
   4194304,
   134217728
  ],
  "256,768": [
   393216,
   12582912,
   402653184
  ],
  "256,4096": [
   2097152,
   67108864,
   2147483648
  ],
  "768,64": [
   98304,
   3145728,
   100663296
  ],
  "768,256": [
   393216,
   12582912,
   402653184
  ],
  "768,768": [
   1179648,
   37748736,
   1207959552
  ],
  "768,4096": [
   6291456,
   201326592,
   6442450944
  ],
  "4096,64": [
   524288,
   16777216,
   536870912
  ],
  "4096,256": [
   2097152,
   67108864,
   2147483648
  ],
  "4096,768": [
   6291456,
   201326592,
   6442450944
  ],
  "4096,4096": [
   33554432,
   1073741824,
   34359738368
  ]
 }
};
explorer.tables = {};
